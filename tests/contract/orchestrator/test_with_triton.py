"""An orchestrator with a real Triton behind it: what an asker gets, and what the model hears of the asker's leaving."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from tritonclient.grpc.service_pb2 import RepositoryModelLoadRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from askmesh.rig.triton import STANDINS, running_triton
from chassis.channel import open_channel
from orchestrator.tokens import FileTokenCounter
from tests.contract.generation.test_triton import being_loaded, counted, grown
from tests.contract.orchestrator.servers import TEXT, passage, rig
from tests.rig_servers import rigged
from tests.unit.orchestrator.tokenizers import write_gemma_like

WAIT_S = 10.0
ANSWER = "The lease lasts 30 seconds. [1]"


@pytest.fixture
def asked_of(tmp_path, monkeypatch):
    """An orchestrator whose generator is the given Triton's."""

    @asynccontextmanager
    async def opened(server, **settings):
        monkeypatch.setenv("ASKMESH_ORCHESTRATOR_GENERATOR", "triton")
        # The timebox is that of a machine which does nothing else; what is tested here is the model.
        given = {"retrieve_timeout_ms": 2_500, "triton_address": f"{server.host}:{server.port}", **settings}
        async with rig(tmp_path, **given) as served:
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


async def test_tokens_are_counted_by_the_models_tokenizer_where_one_is_named(asked_of, triton_server, tmp_path):
    """The LLM-API model reports none: what is billed is counted here."""
    file = write_gemma_like(tmp_path / "tokenizer.json")
    async with asked_of(triton_server, tokenizer_file=file) as served:
        exact = (await served.stub.Ask(asking(), timeout=WAIT_S)).completed.usage
    async with asked_of(triton_server) as served:
        estimated = (await served.stub.Ask(asking(), timeout=WAIT_S)).completed.usage
    assert (exact.is_estimate, estimated.is_estimate) == (False, True)
    assert exact.completion_tokens == FileTokenCounter(file).count(ANSWER)
    assert exact.prompt_tokens > estimated.prompt_tokens  # so small a vocabulary makes many pieces of a prompt


async def test_the_answer_is_streamed_as_the_model_makes_it(asked_of, triton_server):
    async with asked_of(triton_server) as served:
        events = [event async for event in served.stub.StreamAsk(asking("standin:pace=0.05"), timeout=WAIT_S)]
    assert said_in(events) == ANSWER
    assert sum(event.WhichOneof("event") == "answer_delta" for event in events) > 3


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


def reasons(reply):
    return [lost.reason for lost in reply.completed.degraded]


UNAVAILABLE = [pb.DEGRADED_REASON_MODEL_UNAVAILABLE]


async def eventually(served, is_so):
    """The first reply that is so; each try is an ask, so nothing spins."""
    while not is_so(reply := await served.stub.Ask(asking(), timeout=WAIT_S)):
        pass
    return reply


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("standin:refuse=overloaded", pb.DEGRADED_REASON_MODEL_OVERLOADED),
        ("standin:refuse=unavailable", pb.DEGRADED_REASON_MODEL_UNAVAILABLE),
        ("standin:refuse=internal", pb.DEGRADED_REASON_MODEL_UNAVAILABLE),
        ("standin:notext", pb.DEGRADED_REASON_MODEL_UNAVAILABLE),
    ],
)
async def test_a_model_that_says_nothing_is_replaced_and_the_answer_never_kept(asked_of, triton_server, script, reason):
    async with asked_of(triton_server) as served:
        served.retriever.passages = [passage(f"{TEXT} Seen: {script}.")]  # else the directions make it another question
        replies = [await served.stub.Ask(asking(script), timeout=WAIT_S) for _ in range(2)]
    for reply in replies:
        assert reasons(reply) == [reason]
        assert reply.completed.degraded[0].effect
        assert "30 seconds" in reply.text
        assert reply.citations
        assert not reply.completed.is_partial
        assert reply.started.cache.status == pb.CACHE_STATUS_MISS


@pytest.mark.parametrize(
    "settings",
    [
        {"triton_model": "no_such_model"},
        {"triton_model": "vllm", "triton_model_version": "7"},
        {"triton_model": "tensorrt_llm", "triton_codec": "vllm"},
        {"triton_model": "ensemble", "triton_codec": "trtllm"},
    ],
    ids=["unknown model", "unknown version", "wrong tensors", "other tensors"],
)
async def test_a_model_that_is_not_the_one_of_the_settings_is_replaced(asked_of, triton_server, settings):
    async with asked_of(triton_server, **settings) as served:
        reply = await served.stub.Ask(asking(), timeout=WAIT_S)
    assert (reasons(reply), "30 seconds" in reply.text) == (UNAVAILABLE, True)


async def test_a_model_that_is_loading_is_cold_until_it_is_loaded(asked_of, tmp_path):
    gate = tmp_path / "gate"
    opened = running_triton(
        tmp_path / "triton",
        repository=STANDINS,
        environment={"STANDIN_LOAD_GATE": str(gate)},
        options=("--model-control-mode=explicit",),
    )
    async with rigged(lambda: opened) as server, asked_of(server) as served:
        async with open_channel(f"{server.host}:{server.port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            load = RepositoryModelLoadRequest(model_name="tensorrt_llm")
            loading = asyncio.ensure_future(stub.RepositoryModelLoad(load, timeout=60))
            await asyncio.wait_for(being_loaded(stub), 30)
            cold = await served.stub.Ask(asking(), timeout=WAIT_S)
            gate.touch()
            await loading
        warm = await eventually(served, lambda reply: not reasons(reply))
    assert (reasons(cold), "30 seconds" in cold.text) == ([pb.DEGRADED_REASON_MODEL_COLD], True)
    assert warm.text == ANSWER


@pytest.mark.parametrize("own_triton", [""], indirect=True)
async def test_a_restarted_triton_answers_again(asked_of, own_triton):
    async with asked_of(own_triton, cache="off") as served:
        assert (await served.stub.Ask(asking(), timeout=WAIT_S)).text == ANSWER
        own_triton.kill()
        without = await served.stub.Ask(asking(), timeout=WAIT_S)
        assert (reasons(without), "30 seconds" in without.text) == (UNAVAILABLE, True)
        await own_triton.start()
        assert (await eventually(served, lambda reply: not reasons(reply))).text == ANSWER


@pytest.mark.parametrize("own_triton", [""], indirect=True)
async def test_a_stopped_triton_is_replaced_within_the_callers_time_and_answers_when_it_goes_on(asked_of, own_triton):
    async with asked_of(own_triton, cache="off", token_stall_ms=300) as served:
        own_triton.pause()
        stopped = await served.stub.Ask(asking(), timeout=WAIT_S)
        own_triton.resume()
        back = await eventually(served, lambda reply: not reasons(reply))
    assert (reasons(stopped), "30 seconds" in stopped.text) == (UNAVAILABLE, True)
    assert stopped.completed.degraded[0].milliseconds >= 300
    assert back.text == ANSWER


@pytest.mark.parametrize("own_triton", ["standin:pace=0.2"], indirect=True)
async def test_a_triton_that_is_stopped_in_mid_answer_leaves_what_it_said(asked_of, own_triton):
    async with asked_of(own_triton, token_stall_ms=1_000) as served:
        events = []
        call = served.stub.StreamAsk(asking(), timeout=WAIT_S)
        async for event in call:
            events.append(event)
            if said_in(events).startswith("The lease"):
                own_triton.pause()
        own_triton.resume()
    end = events[-1].answer_completed
    assert await call.code() is grpc.StatusCode.OK
    assert ANSWER.startswith(said_in(events))
    assert end.is_partial
    assert [lost.reason for lost in end.degraded] == UNAVAILABLE


async def test_at_two_tokens_a_second_the_deadline_ends_the_answer_and_not_the_call(asked_of, triton_server):
    async with asked_of(triton_server, cache="off") as served:
        patient = await served.stub.Ask(asking("standin:pace=0.5"), timeout=30)
        hurried = await served.stub.Ask(asking("standin:pace=0.5"), timeout=2.5)
    assert (patient.text, reasons(patient)) == (ANSWER, [])
    assert reasons(hurried) == [pb.DEGRADED_REASON_DEADLINE_TRIMMED]
    assert hurried.completed.is_partial
    assert hurried.completed.finish_reason == pb.FINISH_REASON_DEADLINE
    assert ANSWER.startswith(hurried.text)
