"""A cluster to break: Weaviate and OpenSearch of its own, and retrievers in processes that may be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from askmesh.rig.opensearch import running_opensearch
from askmesh.rig.process import Server
from askmesh.rig.weaviate import running_weaviate
from chassis.channel import open_channel
from retriever.ingest.commit import Stores
from retriever.ingest.purge import Janitor
from retriever.search.opensearch import OpenSearchAddress, open_opensearch
from retriever.search.weaviate import WeaviateDenseIndex, open_engine
from retriever.types import CollectionHead
from tests.contract.search.samples import FakeClock, budget, scope, texts_by_id
from tests.rig_servers import rigged

START_S = 180.0  # of a retriever, on a machine that does much else
LIMIT = 10_000  # as many as Weaviate returns at most


@dataclass(frozen=True)
class Cluster:
    """Two real stores."""

    opensearch: Server
    weaviate: Server

    @property
    def settings(self) -> Mapping[str, str]:
        """A retriever's, by field."""
        return {
            "search": "cluster",
            "opensearch_url": self.opensearch.url,
            "weaviate_url": self.weaviate.url,
            "weaviate_grpc": f"{self.weaviate.host}:{self.weaviate.ports['grpc']}",
        }


@asynccontextmanager
async def own_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Servers that no other test uses, started side by side."""
    async with AsyncExitStack() as stack:
        opensearch, weaviate = await asyncio.gather(
            stack.enter_async_context(rigged(lambda: running_opensearch(folder / "opensearch"))),
            stack.enter_async_context(rigged(lambda: running_weaviate(folder / "weaviate"))),
        )
        yield Cluster(opensearch, weaviate)


class RetrieverProcess:
    """`askmesh serve retriever` on a socket of its own; it can be killed and started again."""

    def __init__(self, socket: Path, settings: Mapping[str, str]) -> None:
        self._socket = socket
        self._settings = {"listen": f"unix:{socket}", "log_level": "error", **settings}
        self._process: asyncio.subprocess.Process | None = None
        self._draining: asyncio.Task[None] | None = None
        self.channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Serving when it returns."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("ASKMESH_")}
        given = {f"ASKMESH_RETRIEVER_{name.upper()}": value for name, value in self._settings.items()}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "askmesh", "serve", "retriever"),
            env={**own, **given},
            stderr=asyncio.subprocess.PIPE,
        )
        said = self._process.stderr
        assert said is not None
        lines: list[bytes] = []
        async with asyncio.timeout(START_S):
            while b"serves at" not in (line := await said.readline()):
                lines.append(line)
                assert line, b"the retriever ended before it served:\n" + b"".join(lines)
        self._draining = asyncio.create_task(_drained(said))
        self.channel = open_channel(f"unix:{self._socket}")

    async def restarted(self) -> None:
        await self.kill()
        await self.start()

    async def stopped_for(self, seconds: float) -> None:
        """SIGSTOP: its calls stay open and nobody works on them; then it goes on as if nothing had been."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """kill -9; gone when it returns."""
        process, channel = self._process, self.channel
        self._process = self.channel = None
        if process is not None:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
            await process.wait()
        if channel is not None:
            await channel.close()
        if self._draining is not None:
            await self._draining
            self._draining = None


async def _drained(said: asyncio.StreamReader) -> None:
    """Read what it logs, or it would stop when the pipe is full."""
    while await said.readline():
        pass


@asynccontextmanager
async def serving(socket: Path, settings: Mapping[str, str]) -> AsyncIterator[RetrieverProcess]:
    process = RetrieverProcess(socket, settings)
    try:
        await process.start()
        yield process
    finally:
        await process.kill()


@dataclass(frozen=True)
class Contents:
    """All that the stores hold of a collection, housekeeping done: documents' texts by leg, records by id."""

    head: CollectionHead
    dense: Mapping[str, set[str]]
    lexical: Mapping[str, set[str]]
    records: Mapping[str, int]  # how many chunks each has


async def contents(cluster: Cluster, collection: str, *, tenant: str, fingerprint: str, vector) -> Contents:
    """What is left when every retriever is gone and time has passed for the janitor; visible or not.

    Args:
        fingerprint: The embedder's that the retrievers used.
        vector: Any of its; everything is asked for.
    """
    async with (
        open_opensearch(OpenSearchAddress(cluster.opensearch.url)) as store,
        open_engine(cluster.weaviate.url, cluster.settings["weaviate_grpc"]) as engine,
    ):
        dense = WeaviateDenseIndex(engine, fingerprint=fingerprint, dim=len(vector))
        stores = Stores(store.heads, store.records, dense, store.lexical)
        await _tidied(
            Janitor(stores, survey=store.heads, leases=store.leases, owner="after", clock=(c := FakeClock())), c
        )
        head = await store.heads.get(tenant, collection, budget=budget())
        assert head is not None
        everything = scope(replace(head.snapshot, excluded=(), dead=frozenset()), tenant=tenant)
        listed, _ = await store.records.page(everything, after="", limit=LIMIT, budget=budget())
        return Contents(
            head,
            texts_by_id(await dense.search(vector, everything, LIMIT, budget=budget())),
            texts_by_id(await store.lexical.search("document version says part", everything, LIMIT, budget=budget())),
            {record.document_id: record.chunk_count for record in listed},
        )


async def _tidied(janitor: Janitor, clock: FakeClock) -> None:
    """Rounds enough for a dead holder's lease, stale transactions, dead versions and aborted numbers, in this order."""
    for _ in range(6):
        await janitor.tidy(budget=budget(120))
        clock.advance(200)
