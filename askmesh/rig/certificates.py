"""Certificates for servers of the rig that talk TLS to each other, by openssl, for two days."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_NEW = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


def certify(folder: Path, name: str, *, addresses: Sequence[str] = ()) -> Path:
    """A new authority, and one certificate of it that is good for servers and for clients.

    Args:
        addresses: What it is valid for, as openssl writes them: DNS:keda.svc, IP:127.0.0.1.
    Returns:
        The folder, with ca.crt, ca.key, tls.crt and tls.key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = ["-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key"]
    _openssl([*_NEW, *_pair(folder / "ca"), "-subj", f"/CN={name}-authority"])
    line = [*_NEW, *_pair(folder / "tls"), "-subj", f"/CN={name}", *authority]
    line += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
    if addresses:
        line += ["-addext", f"subjectAltName={','.join(addresses)}"]
    _openssl(line)
    return folder


def _pair(stem: Path) -> list[str]:
    return ["-keyout", f"{stem}.key", "-out", f"{stem}.crt"]


def _openssl(line: Sequence[str]) -> None:
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
