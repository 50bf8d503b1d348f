"""An installation that answers with a real Triton: over REST and SSE, and what a caller's leaving does there."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import httpx
import pytest

from askmesh.rig.triton import STANDIN_NAME
from bench.installation import start, stop, wait_for
from tests.contract.generation.test_triton import counted, grown

WAIT_S = 20.0
STREAM = "/v1/collections/docs:streamAsk"
UNARY = "/v1/collections/docs:ask"


def asking(script: str = "") -> dict[str, str]:
    """Directions for the stand-in model are part of the question."""
    return {"question": f"What is a snapshot of a collection? {script}", "cachePolicy": "CACHE_POLICY_BYPASS"}


@pytest.fixture(scope="module")
def answering(tmp_path_factory, triton_server):
    made = start(
        tmp_path_factory.mktemp("triton-data"),
        environment={
            "ASKMESH_ORCHESTRATOR_GENERATOR": "triton",
            "ASKMESH_ORCHESTRATOR_TRITON_ADDRESS": f"{triton_server.host}:{triton_server.port}",
            "ASKMESH_ORCHESTRATOR_MODEL_NAME": STANDIN_NAME,
        },
    )
    wait_for(made, "Ctrl-C")
    yield made
    assert stop(made) == 0, "\n".join(made.lines)


@pytest.fixture
async def client(answering):
    async with httpx.AsyncClient(base_url=answering.url, timeout=30, trust_env=False) as opened:
        yield opened


async def test_the_answer_over_rest_is_the_models_and_cited(client):
    answer = (await client.post(UNARY, json=asking())).json()
    assert answer["started"]["model"] == STANDIN_NAME
    assert answer["citations"][0]["documentId"]
    assert answer["completed"]["degraded"] == []


@pytest.mark.parametrize("path", [STREAM, UNARY])
async def test_a_caller_that_hangs_up_stops_the_model_within_three_tokens_and_200_ms(client, triton_server, path):
    tokens = await counted(triton_server, "trtllm", "tokens_total")
    cancelled = await counted(triton_server, "trtllm", "cancelled_total")
    call = asyncio.create_task(client.post(path, json=asking("standin:pace=0.1")))
    await asyncio.wait_for(grown(triton_server, "trtllm", "tokens_total", tokens), WAIT_S)
    heard = await counted(triton_server, "trtllm", "tokens_total")
    left_at = time.monotonic()
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    await asyncio.wait_for(grown(triton_server, "trtllm", "cancelled_total", cancelled), WAIT_S)
    assert await counted(triton_server, "trtllm", "cancelled_at_seconds") - left_at <= 0.2
    assert await counted(triton_server, "trtllm", "tokens_total") - heard <= 3
