"""Opens an embedder that runs elsewhere; its client is an extra, so that it is imported only when it is chosen."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from chassis.errors import SettingsInvalid
from chassis.telemetry import Telemetry
from embedding.ports import Embedder


def open_remote(address: str, telemetry: Telemetry, *, proxy: str = "") -> AbstractAsyncContextManager[Embedder]:
    """The embedder on the Triton at `address`; opens no connection.

    Raises:
        SettingsInvalid: Triton's client is not installed.
    """
    try:
        from embedding.triton import TritonEmbedder  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsInvalid("embedder=triton needs `pip install askmesh[cluster]`") from exc
    return TritonEmbedder.opened(address, telemetry=telemetry, proxy=proxy)
