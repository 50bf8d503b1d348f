"""A cluster to break: Weaviate and OpenSearch of its own, and retrievers in processes that may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

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

ROOT = Path(__file__).parents[2]
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


class Nest:
    """One `tests.faults.nest`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._pids: asyncio.Queue[int] = asyncio.Queue()
        self._serving: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._reading = asyncio.create_task(self._read())
        self._asking = asyncio.Lock()

    async def hatch(self, environment: Mapping[str, str]) -> int:
        """The process id of a retriever that serves."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async with asyncio.timeout(START_S):
                async with self._asking:
                    stdin.write(json.dumps(environment).encode() + b"\n")
                    await stdin.drain()
                    pid = await self._pids.get()
                await self._serving[pid].wait()
        except TimeoutError:
            raise AssertionError(f"a retriever does not serve: {self._log.read_text()[-2_000:]}") from None
        return pid

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what, pid = line.split()
            if what == b"pid":
                self._pids.put_nowait(int(pid))
            else:
                self._serving[int(pid)].set()


@asynccontextmanager
async def nesting(folder: Path) -> AsyncIterator[Nest]:
    """A nest; its children must be killed before it is left."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ASKMESH_")}
    log = folder / "retrievers.log"
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.nest"),
            cwd=ROOT,
            env=own | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "OPENBLAS_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=written,
        )
    nest = Nest(process, log)
    try:
        yield nest
    finally:
        await nest.close()


class RetrieverProcess:
    """A retriever on a socket of its own; it can be killed, stopped and started again."""

    def __init__(self, nest: Nest, socket: Path, settings: Mapping[str, str]) -> None:
        self._nest = nest
        self._settings = {"listen": f"unix:{socket}", "log_level": "error", **settings}
        self._pid = 0
        self.channel = open_channel(f"unix:{socket}")  # it finds the next one by itself

    async def start(self) -> None:
        """Serving when it returns."""
        given = {f"ASKMESH_RETRIEVER_{name.upper()}": value for name, value in self._settings.items()}
        self._pid = await self._nest.hatch(given)

    async def restarted(self) -> None:
        await self.kill()
        await self.start()

    async def stopped_for(self, seconds: float) -> None:
        """SIGSTOP: its calls stay open and nobody works on them; then it goes on as if nothing had been."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self._pid, signal.SIGCONT)

    async def kill(self) -> None:
        """kill -9; gone when it returns."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            while _runs(self._pid):  # noqa: ASYNC110  # the nest's child, not ours to wait for
                await asyncio.sleep(0.01)
        self._pid = 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def serving(nest: Nest, socket: Path, settings: Mapping[str, str]) -> AsyncIterator[RetrieverProcess]:
    process = RetrieverProcess(nest, socket, settings)
    try:
        await process.start()
        yield process
    finally:
        await process.kill()
        await process.channel.close()


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
