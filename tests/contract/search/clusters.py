"""Sets of leaves on real servers, opened as the embedded one is: by a folder, whose name stands for an installation.

A server is started by the first test that needs it and serves the whole run; what an earlier test left in it goes when
the next one opens another installation.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from askmesh.rig import opensearch
from askmesh.rig.part import RigMissing
from askmesh.rig.process import Server
from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from retriever.search.embedded import open_embedded
from retriever.search.embedded.database import Database
from retriever.search.embedded.dense import SqliteDenseIndex
from retriever.search.embedded.folder import locked_folder
from retriever.search.embedded.schema import create
from retriever.search.opensearch import OpenSearchAddress, open_opensearch
from retriever.search.weaviate import WeaviateHoldings
from tests.contract.search.weaviates import WEAVIATE, Leaves, dense_at, engine_of
from tests.rig import missing

OPENSEARCH_OPTIONS = ("cluster.max_shards_per_node=10000",)


class SharedOpenSearch:
    """The run's node, and which installations live in it."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._open: set[str] = set()
        self._left: set[str] = set()

    @property
    def node(self) -> Server:
        assert self._server is not None, "an installation is opened first"
        return self._server

    async def url(self) -> str:
        if self._server is None:
            try:
                folder = Path(tempfile.mkdtemp(prefix="askmesh-opensearch-"))
                self._server = Server(opensearch.recipe(folder, options=OPENSEARCH_OPTIONS), folder)
            except RigMissing as absent:
                missing(absent.name, absent.how)
            atexit.register(self._end, self._server)
        if not self._server.is_running:
            await self._server.start()
        return self._server.url

    @staticmethod
    def _end(server: Server) -> None:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)

    @asynccontextmanager
    async def installation(self, folder: Path) -> AsyncIterator[OpenSearchAddress]:
        """The address of the installation that this folder's name stands for; those of other folders are removed."""
        url = await self.url()
        prefix = f"t{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        for left in self._left - {prefix} - self._open:
            erase(url, left)
        self._left = self._open | {prefix}
        self._open.add(prefix)
        try:
            yield OpenSearchAddress(url, prefix=prefix)
        finally:
            self._open.discard(prefix)


def erase(url: str, prefix: str) -> None:
    """Delete everything whose name begins with the prefix."""
    indexes = [each["index"] for each in json.loads(_request("GET", f"{url}/_cat/indices/{prefix}-*?format=json"))]
    if indexes:
        _request("DELETE", f"{url}/{','.join(indexes)}")
    templates = json.loads(_request("GET", f"{url}/_index_template"))["index_templates"]
    for name in (each["name"] for each in templates if each["name"].startswith(f"{prefix}-")):
        _request("DELETE", f"{url}/_index_template/{name}")


def _request(method: str, url: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
        return bytes(answer.read())


OPENSEARCH = SharedOpenSearch()


@asynccontextmanager
async def open_alone(folder: Path) -> AsyncIterator[Leaves]:
    """Everything in SQLite."""
    async with open_embedded(folder) as own:
        yield Leaves(
            dense=own.dense,
            lexical=own.lexical,
            heads=own.heads,
            records=own.records,
            leases=own.leases,
            holdings={"embedded": own.holdings},
            dense_for=lambda *_: own.dense,
        )


@asynccontextmanager
async def open_with_opensearch(folder: Path) -> AsyncIterator[Leaves]:
    """OpenSearch for words and catalogue, SQLite for vectors."""
    async with OPENSEARCH.installation(folder) as address, open_opensearch(address) as store, vectors(folder) as dense:
        yield Leaves(
            dense=dense,
            lexical=store.lexical,
            heads=store.heads,
            records=store.records,
            leases=store.leases,
            holdings={"opensearch": store.holdings},
            dense_for=lambda *_: dense,
        )


@asynccontextmanager
async def vectors(folder: Path) -> AsyncIterator[SqliteDenseIndex]:
    """The embedded dense leg alone: opened whole, the store would sweep what its own catalogue has no head for."""
    with locked_folder(folder):
        database = Database(folder / "vectors.sqlite3", reader_threads=2)
        try:
            await database.write(
                create, failure=SearchUnavailable, place="dense search", budget=Budget.of(30), durable=True
            )
            yield SqliteDenseIndex(database)
        finally:
            database.close()


@asynccontextmanager
async def open_cluster(folder: Path) -> AsyncIterator[Leaves]:
    """What a cluster runs on: OpenSearch for words and catalogue, Weaviate for vectors."""
    server = await WEAVIATE.running()
    async with (
        OPENSEARCH.installation(folder) as address,
        open_opensearch(address) as store,
        engine_of(server) as engine,
    ):
        yield Leaves(
            dense=dense_at(engine, address.prefix),
            lexical=store.lexical,
            heads=store.heads,
            records=store.records,
            leases=store.leases,
            holdings={
                "opensearch": store.holdings,
                "weaviate": WeaviateHoldings(engine, namespace=address.prefix),
            },
            dense_for=lambda fingerprint, dim: dense_at(engine, address.prefix, fingerprint, dim),
        )
