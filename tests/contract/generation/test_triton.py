"""The Triton generator against a real Triton, whose models have the engines' tensors and none of their weights.

Held to the port's suite with each of the three contracts, and to its own promises. The stand-in models count what they
generate in Triton's own metrics; deploy/triton/standin/engine/script.py lists the faults they play on demand.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from askmesh.rig.process import Server
from askmesh.rig.triton import STANDINS, running_triton
from chassis.budget import Budget
from chassis.channel import open_channel
from chassis.errors import DeadlineExceeded, ModelCold, ModelOverloaded, ModelUnavailable
from orchestrator.generation.triton import TritonGenerator
from orchestrator.generation.triton_codecs import CODECS, CodecName
from orchestrator.prompt import PromptBuilder
from orchestrator.tokens import EstimatedTokenCounter
from orchestrator.types import FinishReason, GenerationEnd, ModelInfo, Prompt, Sampling, TextPiece
from tests.bars import bar
from tests.contract.generation.suite import WAIT_S, GeneratorRig, GeneratorSuite, collected, text_of
from tests.rig_servers import rigged
from tests.unit.orchestrator.passages import passage

SERVED = {"trtllm": "tensorrt_llm", "ensemble": "ensemble", "vllm": "vllm"}
SAID = "Nikola Tesla was born in Smiljan \u2013 \u0421\u043c\u0438\u0459\u0430\u043d \U0001f5fa in 1856."
ANSWER = f"{SAID} [1]"
SECRETS = ("Tesla", "127.0.0.1", "gpu-node-7", "tensorrt_llm", "standin")
MODEL = ModelInfo(name="gemma-3-4b-it", fingerprint="gemma-3-4b-it@1")


def ask(script: str = "") -> Prompt:
    """The prompt the orchestrator would build, with directions for the stand-in in the question."""
    builder = PromptBuilder(EstimatedTokenCounter(), 8_192)
    return builder.build(f"Where was Tesla born? {script}", [passage(1, f"{SAID} Cats sleep a lot.")], 64)


@pytest.fixture
async def channel(triton_server):
    async with open_channel(f"{triton_server.host}:{triton_server.port}") as opened:
        yield opened


@pytest.fixture(params=sorted(CODECS))
def codec(request):
    return request.param


def generator_on(channel: grpc.aio.Channel, codec: CodecName, **changes: Any) -> TritonGenerator:
    options: dict[str, Any] = {"served_as": SERVED[codec], "stall_timeout_s": WAIT_S} | changes
    return TritonGenerator(channel, model=MODEL, codec=CODECS[codec], **options)


@pytest.fixture
def generator(channel, codec) -> TritonGenerator:
    return generator_on(channel, codec)


async def answered(generator: TritonGenerator, script: str = "", *, seconds: float = WAIT_S, **sampling):
    return await collected(generator.generate(ask(script), Sampling(**sampling), budget=Budget.of(seconds)))


async def failed(generator: TritonGenerator, error: type[Exception], script: str = "", *, seconds: float = WAIT_S):
    """What was said before it failed, and the failure, whose words tell nobody anything."""
    said = []

    async def listen() -> None:
        async for event in generator.generate(ask(script), Sampling(), budget=Budget.of(seconds)):
            said.append(event)

    with pytest.raises(error) as caught:
        await listen()
    assert not [word for word in SECRETS if word in str(caught.value)]
    return text_of(said), caught.value


async def counted(server, codec: str, name: str) -> float:
    """One of the model's own numbers."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        page = (await client.get(f"http://{server.host}:{server.ports['metrics']}/metrics")).text
    found = re.search(rf'standin_{name}{{model="{SERVED[codec]}"}} (\S+)', page)
    return float(found.group(1)) if found else 0.0


async def grown(server, codec: str, name: str, beyond: float) -> None:
    """Returns as soon as the counter is over `beyond`; each look is a request, so nothing spins."""
    while await counted(server, codec, name) <= beyond:
        pass


class TestSuite(GeneratorSuite):
    @pytest.fixture
    async def rig(self, triton_server, generator, codec) -> GeneratorRig:
        """`hold` slows the model down: it has generated little when its reader leaves."""
        cancelled = await counted(triton_server, codec, "cancelled_total")
        rig = GeneratorRig(
            generator, ask(), ANSWER, stopped=partial(grown, triton_server, codec, "cancelled_total", cancelled)
        )
        rig.hold = lambda: setattr(rig, "prompt", ask("standin:stall=1"))
        return rig


@pytest.mark.parametrize("left_by", ["closing", "cancelling"])
async def test_leaving_stops_the_model(triton_server, generator, codec, left_by, record_property):
    pace_s = 0.05
    cancelled = await counted(triton_server, codec, "cancelled_total")
    tokens = await counted(triton_server, codec, "tokens_total")
    received = 0
    heard = asyncio.Event()

    async def listen() -> None:
        nonlocal received
        stream = generator.generate(ask(f"standin:pace={pace_s}"), Sampling(), budget=Budget.of(WAIT_S))
        async with aclosing(stream) as events:
            async for event in events:
                received += isinstance(event, TextPiece)
                if received == 3:
                    heard.set()
                    if left_by == "closing":
                        return

    listener = asyncio.create_task(listen())
    await asyncio.wait_for(heard.wait(), WAIT_S)
    left_at = time.monotonic()
    if left_by == "cancelling":
        listener.cancel()
    await asyncio.wait_for(grown(triton_server, codec, "cancelled_total", cancelled), WAIT_S)
    stopped_s = await counted(triton_server, codec, "cancelled_at_seconds") - left_at
    await asyncio.gather(listener, return_exceptions=True)
    record_property("stopped after, ms", round(1_000 * stopped_s))
    assert await counted(triton_server, codec, "tokens_total") - tokens - received <= bar(3, wide=60)
    assert stopped_s <= bar(0.2, wide=3.0)


async def test_tokens_go_out_while_the_model_still_thinks(triton_server, generator, codec):
    tokens = await counted(triton_server, codec, "tokens_total")
    stream = generator.generate(ask("standin:stall=1"), Sampling(), budget=Budget.of(WAIT_S))
    async with aclosing(stream) as events:
        assert await anext(events) == TextPiece("Nikola")
        assert await counted(triton_server, codec, "tokens_total") - tokens == 1


@pytest.mark.parametrize("script", ["standin:split", "standin:emptyfinal", "standin:leak"])
async def test_whatever_way_the_engine_cuts_and_ends_its_text_it_arrives_whole(generator, script):
    assert text_of(await answered(generator, script)) == ANSWER


async def test_a_character_the_engine_could_not_decode_yet_is_never_shown(channel):
    events = await answered(generator_on(channel, "trtllm"), "standin:undecoded")
    assert text_of(events) == ANSWER
    assert not [event for event in events if isinstance(event, TextPiece) and "\ufffd" in event.text]


async def test_an_answer_as_long_as_was_allowed_was_cut(generator):
    events = await answered(generator, max_tokens=4)
    assert text_of(events) == "Nikola Tesla was born"
    assert events[-1].finish_reason is FinishReason.LENGTH


async def test_the_engine_that_counts_is_believed_and_the_others_leave_it_to_the_pipeline(generator, codec):
    end = (await answered(generator, seed=-7))[-1]
    assert isinstance(end, GenerationEnd)
    assert (end.prompt_tokens is None, end.completion_tokens is None) == ((codec != "vllm"),) * 2


@pytest.mark.parametrize(
    "script", ["standin:refuse=internal", "standin:refuse=unavailable", "standin:refuse=cancelled"]
)
async def test_an_error_before_the_first_token_is_unavailable(generator, script):
    said, raised = await failed(generator, ModelUnavailable, script)
    assert (said, type(raised)) == ("", ModelUnavailable)


async def test_a_full_queue_is_overload(generator):
    assert (await failed(generator, ModelOverloaded, "standin:refuse=overloaded"))[1].retry_after_s == 1.0


async def test_an_error_in_mid_answer_fails_after_what_was_said(generator):
    assert (await failed(generator, ModelUnavailable, "standin:break=2"))[0] == "Nikola Tesla"


@pytest.mark.parametrize("codec", ["trtllm", "vllm"], indirect=True)
async def test_an_engine_that_gave_up_gave_no_answer(generator):
    await failed(generator, ModelUnavailable, "standin:gaveup")


@pytest.mark.parametrize("codec", ["trtllm", "vllm"], indirect=True)
async def test_an_answer_that_does_not_say_why_it_ended_broke_off(generator):
    assert (await failed(generator, ModelUnavailable, "standin:noreason"))[0] == ANSWER


@pytest.mark.parametrize("codec", ["ensemble", "vllm"], indirect=True)
async def test_an_engine_that_says_all_so_far_where_pieces_are_due_is_not_understood(generator):
    assert "codec" in str((await failed(generator, ModelUnavailable, "standin:repeat"))[1])


async def test_an_answer_left_at_a_stop_sequence_ended_there_also_as_its_last_token(channel):
    *spoken, _ = await answered(generator_on(channel, "ensemble"))
    until = len(spoken) + 4  # the stand-in says the end of a turn in four tokens
    events = await answered(generator_on(channel, "ensemble"), "standin:leak", max_tokens=until)
    assert (text_of(events), events[-1].finish_reason) == (ANSWER, FinishReason.STOP)


async def test_an_answer_without_its_tensors_is_not_an_empty_answer(generator):
    assert (await failed(generator, ModelUnavailable, "standin:notext"))[0] == ""


async def test_a_model_that_falls_silent_fails_after_the_stall_timeout_and_is_stopped(triton_server, channel, codec):
    cancelled = await counted(triton_server, codec, "cancelled_total")
    said, raised = await failed(generator_on(channel, codec, stall_timeout_s=0.1), ModelUnavailable, "standin:stall=2")
    assert (said, type(raised)) == ("Nikola Tesla", ModelUnavailable)
    await asyncio.wait_for(grown(triton_server, codec, "cancelled_total", cancelled), WAIT_S)


@pytest.mark.parametrize(("script", "said"), [("standin:stall=0", ""), ("standin:stall=2", "Nikola Tesla")])
async def test_a_deadline_is_a_deadline_and_not_a_stall(generator, script, said):
    assert (await failed(generator, DeadlineExceeded, script, seconds=0.4))[0] == said


async def test_two_tokens_a_second_are_waited_for(generator):
    assert text_of(await answered(generator, "standin:pace=0.5", max_tokens=3)) == "Nikola Tesla was"


@pytest.mark.parametrize(
    ("codec_used", "served_as", "version", "words"),
    [
        ("vllm", "no_such_model", "1", "knows no such model"),
        ("vllm", "vllm", "7", "version"),
        ("trtllm", "ensemble", "1", "codec"),
        ("vllm", "tensorrt_llm", "1", "codec"),
        ("ensemble", "vllm", "1", "codec"),
    ],
)
async def test_a_wrong_setting_is_named(channel, codec_used, served_as, version, words):
    generator = generator_on(channel, codec_used, served_as=served_as, version=version)
    said, raised = await failed(generator, ModelUnavailable)
    assert said == ""
    assert words in str(raised)


async def test_a_model_that_wants_a_batch_dimension_is_another_codecs(tmp_path):
    repository = tmp_path / "standin" / "models"
    shutil.copytree(STANDINS.parent, repository.parent)
    config = repository / "vllm" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 0", "max_batch_size: 4"))
    opened = partial(running_triton, tmp_path / "triton", repository=repository)
    async with rigged(opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        assert "codec" in str((await failed(generator_on(channel, "vllm"), ModelUnavailable))[1])


@asynccontextmanager
async def server_of_its_own(folder: Path, **options) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    opened = partial(running_triton, folder / "triton", repository=STANDINS, **options)
    async with rigged(opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        yield server, channel


async def test_a_model_that_is_loading_is_cold_and_answers_once_loaded(tmp_path):
    gate = tmp_path / "gate"
    options = {"environment": {"STANDIN_LOAD_GATE": str(gate)}, "options": ("--model-control-mode=explicit",)}
    async with server_of_its_own(tmp_path, **options) as (_, channel):
        generator = generator_on(channel, "vllm")
        assert "not loaded" in str((await failed(generator, ModelUnavailable))[1])
        stub = rpc.GRPCInferenceServiceStub(channel)
        loading = asyncio.ensure_future(
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="vllm"), timeout=30)
        )
        await asyncio.wait_for(being_loaded(stub), 30)
        assert (await failed(generator, ModelCold))[1].retry_after_s == 30.0
        gate.touch()
        await loading
        assert text_of(await answered(generator)) == ANSWER


async def being_loaded(stub) -> None:
    while not any(
        model.state == "LOADING"
        for model in (await stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=5)).models
    ):
        pass


async def test_a_triton_that_dies_is_unavailable_before_and_after_the_first_token(tmp_path):
    async with server_of_its_own(tmp_path) as (server, channel):
        generator = generator_on(channel, "trtllm")
        stream = generator.generate(ask("standin:stall=2"), Sampling(), budget=Budget.of(WAIT_S))
        async with aclosing(stream) as events:
            assert [await anext(events) for _ in range(2)] == [TextPiece("Nikola"), TextPiece(" Tesla")]
            waiting = asyncio.create_task(failed(generator, ModelUnavailable, "standin:stall=0"))
            await asyncio.wait_for(grown(server, "trtllm", "requests_total", 1), WAIT_S)
            server.kill()
            with pytest.raises(ModelUnavailable):
                await anext(events)
        assert (await waiting)[0] == ""
        assert (await failed(generator, ModelUnavailable))[0] == ""
        await server.start()
        await asyncio.wait_for(channel.channel_ready(), WAIT_S)
        assert text_of(await answered(generator)) == ANSWER


async def test_a_triton_that_scales_to_zero_is_cold_when_gone_but_not_when_it_dies_in_mid_answer(tmp_path):
    async with server_of_its_own(tmp_path) as (server, channel):
        generator = generator_on(channel, "trtllm", scales_to_zero=True)
        stream = generator.generate(ask("standin:stall=2"), Sampling(), budget=Budget.of(WAIT_S))
        async with aclosing(stream) as events:
            assert await anext(events) == TextPiece("Nikola")
            server.kill()
            with pytest.raises(ModelUnavailable) as caught:
                await collected(events)
        assert not isinstance(caught.value, ModelCold)
        assert (await failed(generator, ModelCold))[1].retry_after_s == 30.0


async def test_a_triton_that_hangs_in_mid_answer_is_noticed_after_the_stall_timeout(tmp_path):
    async with server_of_its_own(tmp_path) as (server, channel):
        generator = generator_on(channel, "ensemble", stall_timeout_s=0.2)
        stream = generator.generate(ask("standin:pace=0.05"), Sampling(), budget=Budget.of(WAIT_S))
        async with aclosing(stream) as events:
            await anext(events)
            server.pause()
            with pytest.raises(ModelUnavailable):
                await collected(events)
        server.resume()
