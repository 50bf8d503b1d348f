"""askmesh: answers from your own documents, with citations you can check.

`from askmesh import Client, AsyncClient, DocumentFile, where`; errors are in `chassis.errors`, one class per reason.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from askmesh.answers import Answer as Answer
    from askmesh.client import AsyncClient as AsyncClient
    from askmesh.documents import DocumentFile as DocumentFile
    from askmesh.filters import where as where
    from askmesh.sync import Client as Client

__all__ = ["Answer", "AsyncClient", "Client", "DocumentFile", "where"]

_HOMES = {
    "Answer": "askmesh.answers",
    "AsyncClient": "askmesh.client",
    "Client": "askmesh.sync",
    "DocumentFile": "askmesh.documents",
    "where": "askmesh.filters",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `askmesh --help` need not wait for gRPC."""
    if name not in _HOMES:
        raise AttributeError(f"module 'askmesh' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
