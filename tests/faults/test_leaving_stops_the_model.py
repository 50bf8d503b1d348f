"""Whoever stops listening stops the model, whichever way they asked: counted in the model itself, on a real Triton.

The model's clock and the caller's are one (both are CLOCK_MONOTONIC of this machine), so that what lies between leaving
and the model's noticing is measured, not guessed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
import httpx
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from askmesh.rig.triton import STANDIN_NAME
from bench.installation import Installation, start, stop, wait_for
from chassis.channel import open_channel
from tests.bars import bar
from tests.contract.generation.test_triton import counted, grown
from tests.faults.processes import IS_CAMPAIGN

WAIT_S = 30.0
# Of the model's tokens: 200 ms are four of them; slower where the machine may need seconds to get to the leaving.
PACE_S = bar(0.05, wide=0.25)
QUESTION = f"What is a snapshot of a collection? standin:pace={PACE_S}"
STOPPED_S = bar(0.200, wide=3.0)
TOKENS = bar(3, wide=60)
TIMES = 10 if IS_CAMPAIGN else 2

Leave = Callable[[], Awaitable[None]]


@pytest.fixture(scope="module")
def answering(tmp_path_factory, triton_server):
    made = start(
        tmp_path_factory.mktemp("triton-data"),
        environment={
            "ASKMESH_ORCHESTRATOR_GENERATOR": "triton",
            "ASKMESH_ORCHESTRATOR_TRITON_ADDRESS": f"{triton_server.host}:{triton_server.port}",
            "ASKMESH_ORCHESTRATOR_MODEL_NAME": STANDIN_NAME,
            "RETRIEVAL_TIMEOUT_MS": "5000",  # every ask must get as far as the model
        },
    )
    wait_for(made, "Ctrl-C")
    yield made
    assert stop(made) == 0, "\n".join(made.lines)


async def over_grpc(made: Installation, method: str) -> Leave:
    """Begins a call; what it returns cancels it."""
    channel = open_channel(made.grpc)
    request = pb.AskRequest(collection="docs", question=QUESTION, cache_policy=pb.CACHE_POLICY_BYPASS)
    call = getattr(rpc.OrchestratorServiceStub(channel), method)(request, timeout=WAIT_S)
    reading = asyncio.ensure_future(_all_of(call))

    async def leave() -> None:
        call.cancel()
        await asyncio.wait([reading])
        await channel.close()

    return leave


async def _all_of(call) -> None:
    with suppress(asyncio.CancelledError, grpc.RpcError):
        if isinstance(call, grpc.aio.UnaryStreamCall):
            async for _ in call:
                pass
        else:
            await call


async def over_http(made: Installation, method: str) -> Leave:
    """Begins a request; what it returns closes its connection."""
    client = httpx.AsyncClient(base_url=made.url, timeout=WAIT_S, trust_env=False)
    body = {"question": QUESTION, "cachePolicy": "CACHE_POLICY_BYPASS"}
    call = asyncio.create_task(client.post(f"/v1/collections/docs:{method}", json=body))

    async def leave() -> None:
        call.cancel()
        await asyncio.wait([call])
        await client.aclose()

    return leave


WAYS = {
    "a gRPC stream": (over_grpc, "StreamAsk"),
    "a gRPC call": (over_grpc, "Ask"),
    "an SSE stream": (over_http, "streamAsk"),
    "a REST request": (over_http, "ask"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_stops_the_model(answering, triton_server, record_property, way):
    begin, method = WAYS[way]
    left = [await left_in_mid_answer(triton_server, await begin(answering, method)) for _ in range(TIMES)]
    seconds, tokens = max(each[0] for each in left), max(each[1] for each in left)
    record_property("stopped after, ms at most", round(1_000 * seconds))
    record_property("tokens after leaving, at most", round(tokens))
    assert seconds <= STOPPED_S
    assert tokens <= TOKENS


async def left_in_mid_answer(server, leave: Leave) -> tuple[float, float]:
    """Leaves once the model has begun; seconds until it stopped, and the tokens it still made."""
    tokens = await counted(server, "trtllm", "tokens_total")
    cancelled = await counted(server, "trtllm", "cancelled_total")
    await asyncio.wait_for(grown(server, "trtllm", "tokens_total", tokens), WAIT_S)
    heard = await counted(server, "trtllm", "tokens_total")
    left_at = time.monotonic()
    await leave()
    await asyncio.wait_for(grown(server, "trtllm", "cancelled_total", cancelled), WAIT_S)
    stopped_s = await counted(server, "trtllm", "cancelled_at_seconds") - left_at
    return stopped_s, await counted(server, "trtllm", "tokens_total") - heard
