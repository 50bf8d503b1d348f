"""Leaves whose vectors are in a real Weaviate, opened as the embedded ones are: by a folder.

One server serves the whole run, started by the first test that needs it. A folder is a deployment of its own in it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmesh.rig.part import RigMissing
from askmesh.rig.process import Server
from askmesh.rig.weaviate import recipe
from retriever.search.embedded import open_embedded
from retriever.search.weaviate import WeaviateDenseIndex, open_engine
from tests.contract.search.samples import DIM
from tests.rig import missing


@dataclass(frozen=True, slots=True)
class Leaves:
    """One set, by port."""

    dense: Any
    lexical: Any
    heads: Any
    records: Any
    leases: Any


class SharedWeaviate:
    """The run's server. It is stopped when the run ends; its folder stays where it failed to start."""

    def __init__(self) -> None:
        self._server: Server | None = None

    async def running(self) -> Server:
        if self._server is None:
            folder = Path(tempfile.mkdtemp(prefix="askmesh-weaviate-"))
            try:
                server = Server(recipe(folder), folder)
            except RigMissing as absent:
                shutil.rmtree(folder)
                missing(absent.name, absent.how)
            await server.start()
            atexit.register(self._end, server)
            self._server = server
        return self._server

    @staticmethod
    def _end(server: Server) -> None:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


WEAVIATE = SharedWeaviate()


@asynccontextmanager
async def dense_in(server: Server, namespace: str) -> AsyncIterator[WeaviateDenseIndex]:
    """The index of one deployment."""
    async with open_engine(server.url, f"{server.host}:{server.ports['grpc']}") as engine:
        yield WeaviateDenseIndex(engine, fingerprint="embedder/1", dim=DIM, namespace=namespace)


@asynccontextmanager
async def open_with_weaviate(folder: Path) -> AsyncIterator[Leaves]:
    """Vectors in Weaviate; words and catalogue in SQLite."""
    server = await WEAVIATE.running()
    async with open_embedded(folder) as own, dense_in(server, str(folder)) as dense:
        yield Leaves(dense, own.lexical, own.heads, own.records, own.leases)
