"""An orchestrator with a real Triton behind it: what an asker gets, and what the model hears of the asker's leaving."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh.rig.triton import STANDINS, running_triton
from tests.contract.generation.test_triton import counted, grown
from tests.contract.orchestrator.servers import rig
from tests.rig_servers import rigged

WAIT_S = 10.0
ANSWER = "The lease lasts 30 seconds. [1]"


@pytest.fixture
def asked_of(tmp_path, monkeypatch):
    """An orchestrator whose generator is the given Triton's."""

    @asynccontextmanager
    async def opened(server):
        monkeypatch.setenv("ASKMESH_ORCHESTRATOR_GENERATOR", "triton")
        async with rig(tmp_path, triton_address=f"{server.host}:{server.port}") as served:
            yield served

    return opened


@pytest.fixture
async def own_triton(request, tmp_path):
    """One to kill; its models play the given script, so that nothing but a question is in the question."""
    environment = {"STANDIN_SCRIPT": request.param}
    opened = running_triton(tmp_path / "triton", repository=STANDINS, environment=environment)
    async with rigged(lambda: opened) as server:
        yield server


def asking(script: str = "") -> pb.AskRequest:
    """Directions for the stand-in model are part of the question."""
    return pb.AskRequest(collection="docs", question=f"How many seconds does the lease last? {script}")


def said_in(events) -> str:
    return "".join(event.answer_delta.text for event in events if event.WhichOneof("event") == "answer_delta")


async def test_the_models_answer_is_cited_counted_and_found_again(asked_of, triton_server):
    async with asked_of(triton_server) as served:
        reply = await served.stub.Ask(asking(), timeout=WAIT_S)
        again = await served.stub.Ask(asking(), timeout=WAIT_S)
    assert reply.text == ANSWER
    assert [citation.quote for citation in reply.citations] == ["The lease lasts 30 seconds."]
    assert reply.started.model == "gemma-2-2b-it"
    assert reply.completed.finish_reason == pb.FINISH_REASON_STOP
    assert not reply.completed.degraded
    assert reply.completed.usage.completion_tokens > 0
    assert again.started.cache.status == pb.CACHE_STATUS_HIT_EXACT
    assert again.text == ANSWER


async def test_the_answer_is_streamed_as_the_model_makes_it(asked_of, triton_server):
    async with asked_of(triton_server) as served:
        events = [event async for event in served.stub.StreamAsk(asking("standin:pace=0.05"), timeout=WAIT_S)]
    assert said_in(events) == ANSWER
    assert sum(event.WhichOneof("event") == "answer_delta" for event in events) > 3


async def test_a_cancelled_ask_stops_the_model_within_three_tokens_and_200_ms(asked_of, triton_server):
    before = await counted(triton_server, "trtllm", "tokens_total")
    cancelled = await counted(triton_server, "trtllm", "cancelled_total")
    async with asked_of(triton_server) as served:
        call = served.stub.StreamAsk(asking("standin:pace=0.1"), timeout=WAIT_S)
        async for event in call:
            if event.WhichOneof("event") == "answer_delta":
                break
        heard = await counted(triton_server, "trtllm", "tokens_total") - before
        left_at = time.monotonic()
        call.cancel()
        await asyncio.wait_for(grown(triton_server, "trtllm", "cancelled_total", cancelled), WAIT_S)
    assert await counted(triton_server, "trtllm", "cancelled_at_seconds") - left_at <= 0.2
    assert await counted(triton_server, "trtllm", "tokens_total") - before - heard <= 3


async def test_a_model_silent_before_its_first_token_is_replaced_and_stopped_long_before_the_deadline(
    asked_of, triton_server, monkeypatch
):
    monkeypatch.setenv("ASKMESH_ORCHESTRATOR_FIRST_TOKEN_MS", "200")
    cancelled = await counted(triton_server, "trtllm", "cancelled_total")
    async with asked_of(triton_server) as served:
        began = time.monotonic()
        reply = await served.stub.Ask(asking("standin:stall=0"), timeout=60.0)
        assert time.monotonic() - began < WAIT_S
        await asyncio.wait_for(grown(triton_server, "trtllm", "cancelled_total", cancelled), WAIT_S)
    assert [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_MODEL_UNAVAILABLE]
    assert reply.text  # the extractive one's; the direction in the question is no word of the sources
    assert not reply.completed.is_partial


@pytest.mark.parametrize("own_triton", ["standin:stall=0"], indirect=True)
async def test_a_triton_that_is_gone_before_the_first_token_is_replaced(asked_of, own_triton):
    async with asked_of(own_triton) as served:
        call = served.stub.Ask(asking(), timeout=WAIT_S)
        await asyncio.wait_for(grown(own_triton, "trtllm", "requests_total", 0), WAIT_S)
        own_triton.kill()
        reply = await call
    assert [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_MODEL_UNAVAILABLE]
    assert "30 seconds" in reply.text


@pytest.mark.parametrize("own_triton", ["standin:stall=3"], indirect=True)
async def test_a_triton_that_dies_in_mid_answer_leaves_what_it_said(asked_of, own_triton):
    async with asked_of(own_triton) as served:
        call = served.stub.StreamAsk(asking(), timeout=WAIT_S)
        events = []
        async for event in call:
            events.append(event)
            if said_in(events) == "The lease lasts":
                own_triton.kill()
    end = events[-1].answer_completed
    assert await call.code() is grpc.StatusCode.OK
    assert said_in(events) == "The lease lasts"
    assert end.is_partial
    assert [lost.reason for lost in end.degraded] == [pb.DEGRADED_REASON_MODEL_UNAVAILABLE]
