"""Leaves whose vectors are in a real Weaviate, opened as the embedded ones are: by a folder.

One server serves the whole run, started by the first test that needs it. A folder is a deployment of its own in it.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmesh.rig.part import RigMissing
from askmesh.rig.process import Server
from askmesh.rig.weaviate import recipe
from retriever.search.embedded import open_embedded
from retriever.search.weaviate import Engine, WeaviateDenseIndex, WeaviateHoldings, open_engine
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
    holdings: Any
    dense_for: Any


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


def namespace_of(name: str) -> str:
    """A namespace of its own for every name."""
    return f"t{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def engine_of(server: Server) -> AbstractAsyncContextManager[Engine]:
    return open_engine(server.url, f"{server.host}:{server.ports['grpc']}")


def dense_at(engine: Engine, namespace: str, fingerprint: str = "embedder/1", dim: int = DIM) -> WeaviateDenseIndex:
    """The index of one embedder in one deployment."""
    return WeaviateDenseIndex(engine, fingerprint=fingerprint, dim=dim, namespace=namespace)


@asynccontextmanager
async def dense_in(server: Server, namespace: str) -> AsyncIterator[WeaviateDenseIndex]:
    """The index of one deployment, with an engine of its own."""
    async with engine_of(server) as engine:
        yield dense_at(engine, namespace)


@asynccontextmanager
async def open_with_weaviate(folder: Path) -> AsyncIterator[Leaves]:
    """Vectors in Weaviate; words and catalogue in SQLite."""
    server = await WEAVIATE.running()
    namespace = namespace_of(str(folder))
    async with open_embedded(folder) as own, engine_of(server) as engine:
        yield Leaves(
            dense=dense_at(engine, namespace),
            lexical=own.lexical,
            heads=own.heads,
            records=own.records,
            leases=own.leases,
            holdings={"embedded": own.holdings, "weaviate": WeaviateHoldings(engine, namespace=namespace)},
            dense_for=lambda fingerprint, dim: dense_at(engine, namespace, fingerprint, dim),
        )
