"""Where a server listens and a channel dials: "host:port" (port 0 = a free one) or "unix:/path"."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chassis.errors import PortInUse, SettingsInvalid

UNIX: Final = "unix:"
MAX_SOCKET_PATH: Final = 107  # sun_path holds 108 bytes with its final zero; a longer one fails or is cut
LONGEST_SOCKET_NAME: Final = len("/orchestrator.sock")

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  # what a client dials instead


def unix_path(address: str) -> Path | None:
    """The path of a unix address, None for another kind."""
    return Path(address.removeprefix(UNIX)) if address.startswith(UNIX) else None


def dialled(address: str, port: int) -> str:
    """What a channel dials to reach a server that listens on `address` and was given `port`."""
    if address.startswith(UNIX):
        return address
    host = address.rpartition(":")[0]
    return f"{_ANYWHERE.get(host, host)}:{port}"


def through(proxy: str, address: str) -> str:
    """What a channel to `address` dials where a sidecar listens at `proxy`; empty where it dials `address` itself.

    A sidecar has one outbound listener per port of the services behind it, so the port stays. Where a network redirects
    traffic to the sidecar, as Istio does in a pod, there is no such setting; without redirection a caller has to go
    there, and to name the service as its authority.
    """
    host, _, port = address.rpartition(":")
    return f"{proxy}:{port}" if proxy and host and not address.startswith(UNIX) else ""


def check_free(address: str) -> None:
    """Raise PortInUse or SettingsInvalid where gRPC would fail with a text of its own, or silently steal a socket."""
    path = unix_path(address)
    if path is None:
        _check_tcp(address)
    else:
        _check_unix(path)


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A fresh folder only we can enter, for the sockets between services; removed at the end.

    Never the data folder: its path may be too long, and it may be on a file system without sockets.
    """
    folder = _make_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> Path:
    places = (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")  # noqa: S108  # mkdtemp makes it 0700
    for place in places:
        if not place or not os.access(place, os.W_OK | os.X_OK):
            continue
        folder = Path(tempfile.mkdtemp(prefix="askmesh-", dir=place))
        if len(os.fsencode(folder)) + LONGEST_SOCKET_NAME <= MAX_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise SettingsInvalid("no folder for sockets: XDG_RUNTIME_DIR and the temp folder are not writable or too deep")


def _check_unix(path: Path) -> None:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise SettingsInvalid(f"listen: a unix socket's path may have {MAX_SOCKET_PATH} bytes")
    if not path.parent.is_dir():
        raise SettingsInvalid("listen: the folder of the unix socket does not exist")
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # left behind by a server that died
            return
        except OSError as exc:
            raise SettingsInvalid("listen: the unix socket's path is something else already") from exc
    raise PortInUse("another server listens on this unix socket; stop it, or choose another path")


def _check_tcp(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise SettingsInvalid("listen: write host:port or unix:/path")
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, int(port), type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        raise SettingsInvalid("listen: the host name has no address") from exc
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does: a closing socket is no reason
        try:
            probe.bind(place)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(f"port {port} is taken; stop the other program, or choose another port") from exc
            raise SettingsInvalid("listen: the address cannot be bound here") from exc
