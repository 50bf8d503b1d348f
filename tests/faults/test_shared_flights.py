"""Single flight over two orchestrators: real processes, a real Redis between them, generations counted in Triton.

The model paces its tokens as the question says, so that there is a middle to break something in; its answer is the same
whenever it is asked the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc
from rag.retriever.v1 import document_pb2 as documents
from rag.retriever.v1 import document_pb2_grpc

from askmesh.rig.part import RigMissing
from askmesh.rig.process import Server
from askmesh.rig.redis import recipe
from chassis.channel import open_channel
from tests.contract.generation.test_triton import counted, grown
from tests.faults.processes import IS_CAMPAIGN, service
from tests.rig import missing

TIMEOUT_S = 60.0  # a shared machine stalls for seconds
ASKS = 100
TOLD_S = 5.0 if IS_CAMPAIGN else 20.0  # until a follower goes on without its holder: a claim lives 2.5 s unbeaten
PACE_S = 0.2
ANSWER = "The zephyr valve opens at forty bar and closes again at thirty bar. [1]"


@dataclass
class Replica:
    stub: Any
    process: Any

    def ask(self, question):
        return self.stub.Ask(pb.AskRequest(collection="docs", question=question), timeout=TIMEOUT_S)

    def stream(self, question):
        return self.stub.StreamAsk(pb.AskRequest(collection="docs", question=question), timeout=TIMEOUT_S)


@dataclass
class Mesh:
    one: Replica
    other: Replica
    redis: Server
    triton: Server
    requests: float
    cancelled: float

    async def generations(self):
        return await counted(self.triton, "trtllm", "requests_total") - self.requests

    async def a_generation_begins(self):
        await asyncio.wait_for(grown(self.triton, "trtllm", "requests_total", self.requests), TIMEOUT_S)

    async def a_generation_is_cancelled(self):
        await asyncio.wait_for(grown(self.triton, "trtllm", "cancelled_total", self.cancelled), TIMEOUT_S)


class Standing:
    """The processes, kept from test to test; whatever a test killed is started again for the next."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.redis = Server(recipe(folder / "redis"), folder / "redis")
        stack.callback(self.redis.kill)
        self._stack = stack
        self._processes: dict[str, Any] = {}

    def process(self, role, name, **settings):
        known = self._processes.get(name)
        if known is None or known.poll() is not None:
            listen = f"unix:{self.folder}/{name}"
            known = self._processes[name] = self._stack.enter_context(service(role, listen=listen, **settings))
        return known


@pytest.fixture(scope="module")
def standing():
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="am")))
        try:
            yield Standing(folder, stack)
        except RigMissing as absent:
            missing(absent.name, absent.how)


@pytest.fixture
async def mesh(triton_server, standing):
    folder = standing.folder
    async with AsyncExitStack() as stack:
        redis = standing.redis
        if not redis.is_running:
            await redis.start()
        where = {"data_folder": folder / "data", "retrieval_timeout_ms": 5_000, "embedder": "none"}
        await asyncio.to_thread(standing.process, "retriever", "r", **where)
        replicas = []
        for name in ("o1", "o2"):
            given = {
                "retriever_address": f"unix:{folder}/r",
                "retrieve_timeout_ms": 5_000,
                "embedder": "none",
                "generator": "triton",
                "triton_address": f"{triton_server.host}:{triton_server.port}",
                "flights": "redis",
                "cache": "redis",
                "redis_url": redis.url,
                "redis_secret": "shared by all replicas",
                "redis_timeout_ms": 2_000,  # a reply that a busy machine holds up is not what is tested
                "max_concurrency": 200,
            }
            process = await asyncio.to_thread(standing.process, "orchestrator", name, **given)
            channel = open_channel(f"unix:{folder}/{name}")
            stack.push_async_callback(channel.close)
            replicas.append(Replica(rpc.OrchestratorServiceStub(channel), process))
        await store(f"unix:{folder}/r")
        await until_they_share(*replicas)
        before = [await counted(triton_server, "trtllm", name) for name in ("requests_total", "cancelled_total")]
        yield Mesh(replicas[0], replicas[1], redis, triton_server, *before)


async def until_they_share(one, other):
    """A Redis that came back is used again a quarter second later."""
    while True:
        asked = question(0.05)
        replies = await asyncio.gather(one.ask(asked), other.ask(asked))
        if pb.CACHE_STATUS_JOINED in [reply.started.cache.status for reply in replies]:
            return


async def store(address):
    channel = open_channel(address)
    given = documents.DocumentInput(document_id="valve", text=ANSWER.removesuffix(" [1]"))
    request = documents.PutDocumentRequest(collection="docs", document=given)
    await document_pb2_grpc.DocumentServiceStub(channel).PutDocument(request, timeout=TIMEOUT_S)
    await channel.close()


_NUMBERS = count(1)  # no test's answer may lie in the cache for the next


def question(pace_s=PACE_S):
    return f"At how many bar does the zephyr valve open? standin:pace={pace_s} ({next(_NUMBERS)})"


def delta(event):
    return event.answer_delta.text if event.WhichOneof("event") == "answer_delta" else ""


async def followed(stream, until=lambda text: False):
    """The events of a stream until its text is as wanted, or to its end."""
    events, text = [], ""
    async for event in stream:
        events.append(event)
        text += delta(event)
        if until(text):
            break
    return events, text


async def led_and_joined(mesh):
    """A stream on one replica, its generation begun, and one that follows it on the other."""
    asked = question()
    leading = mesh.one.stream(asked)
    await mesh.a_generation_begins()
    following = mesh.other.stream(asked)
    events, text = await followed(following, until=bool)
    assert events[0].answer_started.cache.status == pb.CACHE_STATUS_JOINED
    return leading, following, text


async def test_a_hundred_identical_misses_over_both_make_one_generation(mesh):
    asked = question()
    asks = [replica.ask(asked) for replica in (mesh.one, mesh.other) for _ in range(ASKS // 2)]
    replies = await asyncio.gather(*asks)
    assert await mesh.generations() == 1
    assert {reply.text for reply in replies} == {ANSWER}
    statuses = [reply.started.cache.status for reply in replies]
    assert statuses.count(pb.CACHE_STATUS_MISS) == 1
    assert statuses.count(pb.CACHE_STATUS_MISS) + statuses.count(pb.CACHE_STATUS_JOINED) == ASKS
    assert sum(reply.completed.usage.completion_tokens > 0 for reply in replies) == 1
    assert len({reply.started.answer_id for reply in replies}) == ASKS


async def test_a_follower_hears_the_text_while_it_is_made(mesh):
    leading, following, text = await led_and_joined(mesh)
    assert text != ANSWER
    _, rest = await followed(following)
    assert text + rest == ANSWER
    leading.cancel()


async def test_the_generation_goes_on_for_a_follower_when_its_own_callers_leave(mesh):
    leading, following, text = await led_and_joined(mesh)
    leading.cancel()
    _, rest = await followed(following)
    assert text + rest == ANSWER
    assert await mesh.generations() == 1


async def test_when_everybody_everywhere_has_left_the_model_is_stopped(mesh):
    leading, following, _ = await led_and_joined(mesh)
    leading.cancel()
    following.cancel()
    await mesh.a_generation_is_cancelled()


async def test_a_follower_goes_on_alone_when_the_leader_is_killed(mesh):
    _, following, text = await led_and_joined(mesh)
    began = time.monotonic()
    os.kill(mesh.one.process.pid, signal.SIGKILL)
    events, rest = await followed(following)
    assert text + rest == ANSWER
    assert time.monotonic() - began < TOLD_S + len(ANSWER) * PACE_S
    assert not events[-1].answer_completed.is_partial
    assert await following.code() is grpc.StatusCode.OK


async def test_followers_take_over_from_a_leader_killed_before_its_first_word(mesh):
    silent = f"{question(0.0)} standin:stall=0"
    asking = asyncio.ensure_future(_swallowed(mesh.one.ask(silent)))
    await mesh.a_generation_begins()
    asks = [asyncio.ensure_future(_swallowed(mesh.other.ask(silent))) for _ in range(10)]
    await asyncio.sleep(0.5)  # they look every 25 ms
    before = await mesh.generations()
    os.kill(mesh.one.process.pid, signal.SIGKILL)
    await asking
    replies = await asyncio.gather(*asks)
    assert all(reply is not None for reply in replies)
    assert (before, await mesh.generations()) == (1, 2)


async def _swallowed(call):
    """The reply, or None for a call that died with its server."""
    try:
        return await call
    except grpc.RpcError:
        return None


@pytest.mark.parametrize("how", ["killed", "flushed"])
async def test_redis_going_in_mid_flight_fails_nobody(mesh, how):
    leading, following, text = await led_and_joined(mesh)
    if how == "killed":
        mesh.redis.kill()
    else:
        reader, writer = await asyncio.open_connection(mesh.redis.host, mesh.redis.port)
        writer.write(b"FLUSHALL\r\n")
        assert await reader.readline() == b"+OK\r\n"
        writer.close()
    (events, rest), (_, led) = await asyncio.gather(followed(following), followed(leading))
    assert text + rest == ANSWER
    assert led == ANSWER
    assert not events[-1].answer_completed.is_partial


async def test_without_redis_each_replica_answers_by_itself(mesh):
    mesh.redis.kill()
    asked = question(0.0)
    asks = [replica.ask(asked) for replica in (mesh.one, mesh.other) for _ in range(5)]
    replies = await asyncio.gather(*asks)
    assert {reply.text for reply in replies} == {ANSWER}
    assert await mesh.generations() == 2
