"""What a write acknowledged is never unseen: asks that race a delete, an update or a revocation, with the mirror on.

Real processes: retrievers that keep the snapshot mirror, orchestrators that read it and share their answers in Redis.
Between writes Redis is flushed, restarted, or cut off or hung for the one retriever that commits. Each round's answer
lies in both orchestrators' reach, cached, when the write comes, and asks are under way all the time.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc
from rag.retriever.v1 import document_pb2 as documents
from rag.retriever.v1 import document_pb2_grpc

from askmesh.rig.ports import free_ports
from askmesh.rig.process import Server
from askmesh.rig.redis import running_redis
from chassis.channel import open_channel
from tests.contract.search.clusters import OPENSEARCH
from tests.contract.search.weaviates import WEAVIATE
from tests.faults.processes import IS_CAMPAIGN, Wire, service
from tests.rig_servers import rigged

SECRET = "shared by the whole installation"
TIMEOUT_S = 60.0  # a shared machine stalls for seconds
RACING = 10  # asks that start with the acknowledgement, over both orchestrators
# 1,000 in a campaign. Elsewhere each write and each fault once; a write that waits the mirror out takes 2.1 s.
ROUNDS = 100 if IS_CAMPAIGN else 4
FAULTS = (
    ("none", "flushed", "none", "cut", "none", "restarted", "none", "hung")
    if IS_CAMPAIGN
    else ("none", "cut", "flushed")
)
PRESSING = 2 if IS_CAMPAIGN else 1  # asks under way on each orchestrator all the time
WRITES = ("delete", "update", "revoke")
COMMON = {"retrieve_timeout_ms": 5_000}  # the race is about what is seen, not about how soon


@dataclass
class Replica:
    """An orchestrator of the installation."""

    stub: Any
    metrics: str

    async def ask(self, question):
        return await self.stub.Ask(pb.AskRequest(collection="docs", question=question), timeout=TIMEOUT_S)

    def mirrored(self, outcome):
        with urllib.request.urlopen(self.metrics) as page:
            lines = page.read().decode().splitlines()
        name = f'askmesh_snapshot_mirror_total{{outcome="{outcome}"}}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@dataclass
class Installation:
    """Retrievers, the first of which can be cut off from Redis, and orchestrators."""

    redis: Server
    wire: Wire
    writers: list[Any]
    replicas: list[Replica]
    turns: Any = field(init=False)

    def __post_init__(self):
        self.turns = cycle(self.writers)

    async def put(self, stub, document_id, text, groups=("*",)):
        given = documents.DocumentInput(document_id=document_id, text=text, groups=groups)
        await stub.PutDocument(documents.PutDocumentRequest(collection="docs", document=given), timeout=TIMEOUT_S)

    async def delete(self, stub, document_id):
        request = documents.DeleteDocumentRequest(collection="docs", document_id=document_id)
        await stub.DeleteDocument(request, timeout=TIMEOUT_S)

    async def strike(self, fault):
        match fault:
            case "flushed":
                await self.command(b"FLUSHALL")
            case "restarted":
                self.redis.kill()
                await self.redis.start()
            case "cut":
                self.wire.cut()
            case "hung":
                self.wire.hang()

    async def command(self, line):
        reader, writer = await asyncio.open_connection(self.redis.host, self.redis.port)
        writer.write(line + b"\r\n")
        assert (await reader.readline()).startswith(b"+")
        writer.close()


@asynccontextmanager
async def installed(folder, stores, count):
    """`count` retrievers over the same stores and two orchestrators, one Redis for all of them."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(rigged(lambda: running_redis(folder / "redis")))
        wire = await stack.enter_async_context(Wire(redis.port).relaying())
        shared = {"mirror": "redis", "redis_secret": SECRET, "redis_timeout_ms": 50}
        writers, replicas = [], []
        for number in range(count):
            url = f"redis://127.0.0.1:{wire.port}" if number == 0 else redis.url
            where = {"listen": f"unix:{folder}/r{number}", "redis_url": url, "retrieval_timeout_ms": 5_000}
            await asyncio.to_thread(stack.enter_context, service("retriever", **stores, **shared, **where))
            channel = open_channel(f"unix:{folder}/r{number}")
            stack.push_async_callback(channel.close)
            writers.append(document_pb2_grpc.DocumentServiceStub(channel))
        for number, port in enumerate(free_ports(2)):
            where = {"listen": f"unix:{folder}/o{number}", "retriever_address": f"unix:{folder}/r{number % count}"}
            given = {
                "redis_url": redis.url,
                "cache": "redis",
                "embedder": "none",
                "metrics_listen": f"127.0.0.1:{port}",
            }
            await asyncio.to_thread(stack.enter_context, service("orchestrator", **COMMON, **shared, **where, **given))
            channel = open_channel(f"unix:{folder}/o{number}")
            stack.push_async_callback(channel.close)
            replicas.append(Replica(rpc.OrchestratorServiceStub(channel), f"http://127.0.0.1:{port}/metrics"))
        yield Installation(redis, wire, writers, replicas)


@asynccontextmanager
async def embedded(folder):
    async with installed(folder, {"data_folder": folder / "data"}, 1) as opened:
        yield opened


@asynccontextmanager
async def clustered(folder):
    weaviate = await WEAVIATE.running()
    async with OPENSEARCH.installation(folder) as address:
        stores = {
            "search": "cluster",
            "opensearch_url": address.url,
            "weaviate_url": weaviate.url,
            "weaviate_grpc": f"{weaviate.host}:{weaviate.ports['grpc']}",
            "store_prefix": address.prefix,
        }
        async with installed(folder, stores, 2) as opened:
            yield opened


@pytest.fixture(params=[embedded, clustered], ids=["embedded", "cluster"])
async def installation(request):
    with tempfile.TemporaryDirectory(prefix="am") as name:  # a socket's path has room for 107 characters
        async with request.param(Path(name)) as opened:
            yield opened


@dataclass
class Tally:
    """What became of the asks that started after an acknowledgement."""

    seen: list[str] = field(default_factory=list)
    refused: int = 0
    stale: int = 0
    slowest_s: dict[str, float] = field(default_factory=dict)  # acknowledgement, by fault


async def race(installation, number, fault, tally):
    """One document is stored, asked for until it is cached, and changed; then nobody may see what it was."""
    writer = next(installation.turns) if fault == "none" else installation.writers[0]
    name, old = f"station-{number}", f"alpha{number:04}x"
    question = f"What is the code word of station {number}?"
    await installation.put(writer, name, f"The code word of station {number} is {old}.")
    for replica in installation.replicas:
        reply = await replica.ask(question)
        assert old in reply.text
    await installation.strike(fault)
    is_over = asyncio.Event()
    pressing = [asyncio.create_task(press(replica, question, is_over)) for replica in installation.replicas * PRESSING]
    began = time.monotonic()
    await change(installation, writer, WRITES[number % len(WRITES)], number)
    tally.slowest_s[fault] = max(tally.slowest_s.get(fault, 0.0), time.monotonic() - began)
    asks = [replica.ask(question) for replica in installation.replicas for _ in range(RACING // 2)]
    replies = await asyncio.gather(*asks, return_exceptions=True)
    is_over.set()
    await asyncio.gather(*pressing)
    installation.wire.mend()
    for reply in replies:
        if isinstance(reply, grpc.RpcError):
            tally.refused += 1
        elif isinstance(reply, BaseException):
            raise reply
        else:
            tally.seen.append(pb.CacheStatus.Name(reply.started.cache.status))
            tally.stale += old in str(reply)


async def press(replica, question, is_over):
    """Asks that began before the acknowledgement may see either state; they keep filling mirror and cache."""
    while not is_over.is_set():
        try:
            await replica.ask(question)
        except grpc.RpcError:
            await asyncio.sleep(0.01)


async def change(installation, writer, how, number):
    name, fresh = f"station-{number}", f"The code word of station {number} is omega{number:04}x."
    match how:
        case "delete":
            await installation.delete(writer, name)
        case "update":
            await installation.put(writer, name, fresh)
        case _:
            old = f"The code word of station {number} is alpha{number:04}x."
            await installation.put(writer, name, old, groups=("staff",))


@pytest.mark.timeout(1_800 if IS_CAMPAIGN else 240)
async def test_no_ask_after_an_acknowledged_write_sees_the_old_state(installation, record_property):
    tally = Tally()
    await installation.put(installation.writers[0], "always", "The lighthouse was built in 1890.")
    for number, fault in zip(range(ROUNDS), cycle(FAULTS), strict=False):
        await race(installation, number, fault, tally)
    hits = sum(replica.mirrored("hit") for replica in installation.replicas)
    slowest = ", ".join(f"{fault} {seconds:.2f}" for fault, seconds in tally.slowest_s.items())
    line = (
        f"{len(tally.seen)} racing asks answered, {tally.stale} stale, {tally.refused} refused; "
        f"{hits:.0f} snapshots from the mirror; slowest acknowledgements, s: {slowest}"
    )
    record_property("race", line)
    assert tally.stale == 0
    assert len(tally.seen) >= 0.9 * ROUNDS * RACING
    assert hits > 0
