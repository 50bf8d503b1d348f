"""Whose certificates the stores are believed by, and what is shown to those that ask for one of ours."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import certifi
import grpc

from chassis.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class StoreTls:
    """TLS to the stores whose URLs say https.

    Attributes:
        ca_file: PEM, the authorities their certificates are checked by; None: the public ones.
        cert_file, key_file: PEM, our own certificate and its key, which may be in the same file; None: none is shown.
    Raises:
        SettingsInvalid: there is a key without a certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if self.key_file is not None and self.cert_file is None:
            raise SettingsInvalid(
                "ASKMESH_RETRIEVER_STORES_KEY_FILE: a key needs its certificate, ASKMESH_RETRIEVER_STORES_CERT_FILE"
            )

    def context(self) -> ssl.SSLContext:
        """For HTTP. Raises SettingsInvalid."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or certifi.where())
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as exc:
            raise _unusable() from exc
        return context

    def credentials(self) -> grpc.ChannelCredentials:
        """For gRPC. Raises SettingsInvalid."""
        key_file = self.key_file or self.cert_file  # gRPC ends the process that has a certificate and no key
        try:
            parts = [None if file is None else file.read_bytes() for file in (self.ca_file, key_file, self.cert_file)]
        except OSError as exc:
            raise _unusable() from exc
        return grpc.ssl_channel_credentials(*parts)


PUBLIC: Final = StoreTls()
"""The public authorities, and no certificate of ours."""


def _unusable() -> SettingsInvalid:
    names = " and ".join(f"ASKMESH_RETRIEVER_STORES_{name}" for name in ("CA_FILE", "CERT_FILE", "KEY_FILE"))
    return SettingsInvalid(
        f"{names}: a file cannot be read, holds no PEM, or certificate and key do not belong together"
    )
