"""The OpenAI-compatible generator against a server on a socket, held to the port's suite and to its own promises."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import pytest
from pydantic import SecretStr

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, ModelCold, ModelOverloaded, ModelUnavailable
from orchestrator.generation.completions import MAX_LINE_BYTES
from orchestrator.generation.openai import OpenAiGenerator
from orchestrator.types import FinishReason, GenerationEnd, ModelInfo, Prompt, Sampling, TextPiece
from tests.contract.generation.model_server import DONE, FOREVER, ModelServer, Reply, answer, chunk, running, usage
from tests.contract.generation.suite import WAIT_S, GeneratorRig, GeneratorSuite, collected, text_of

PROMPT = Prompt("Be brief.", "Where was Tesla born?", "Where was Tesla born?", (), 12, is_estimate=False)
MODEL = ModelInfo(name="gemma-2-2b-it", fingerprint="gemma-2-2b-it@1")
SECRETS = ("Tesla", "Be brief", "127.0.0.1", "sk-secret", "gpu-node-7")


@pytest.fixture
async def server():
    async with running() as model_server:
        yield model_server


@pytest.fixture
async def client():
    async with httpx.AsyncClient() as http:
        yield http


@pytest.fixture
def generator(server, client) -> OpenAiGenerator:
    return OpenAiGenerator(client, base_url=server.base_url, model=MODEL, stall_timeout_s=WAIT_S)


async def answered(generator: OpenAiGenerator, sampling: Sampling | None = None, *, seconds: float = WAIT_S):
    return await collected(generator.generate(PROMPT, sampling or Sampling(), budget=Budget.of(seconds)))


async def failed(generator: OpenAiGenerator, error: type[Exception], *, seconds: float = WAIT_S):
    """What was said before it failed, and the failure, whose words tell nobody anything."""
    said = []

    async def listen() -> None:
        async for event in generator.generate(PROMPT, Sampling(), budget=Budget.of(seconds)):
            said.append(event)

    with pytest.raises(error) as caught:
        await listen()
    assert not [word for word in SECRETS if word in str(caught.value)]
    return text_of(said), caught.value


class TestSuite(GeneratorSuite):
    @pytest.fixture
    async def rig(self, server: ModelServer, generator: OpenAiGenerator) -> GeneratorRig:
        server.reply = answer("In ", "Smiljan", ".")

        def hold() -> None:
            server.reply = Reply([chunk("In "), FOREVER])

        return GeneratorRig(generator, PROMPT, "In Smiljan.", stopped=server.hung_up.wait, hold=hold)


async def test_the_request_is_what_the_servers_document(server, client):
    generator = OpenAiGenerator(
        client, base_url=f"{server.base_url}/", model=MODEL, api_key=SecretStr("sk-secret"), stop=("<end_of_turn>",)
    )
    await answered(generator, Sampling(max_tokens=64, temperature=0.5, seed=7))
    [request] = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert request.body == {
        "model": "gemma-2-2b-it",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where was Tesla born?"},
        ],
        "max_tokens": 64,
        "temperature": 0.5,
        "seed": 7,
        "stop": ["<end_of_turn>"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_model_without_a_system_role_is_told_the_rules_in_the_users_turn(server, client):
    generator = OpenAiGenerator(client, base_url=server.base_url, model=MODEL, has_system_role=False)
    await answered(generator)
    [request] = server.requests
    assert request.body["messages"] == [{"role": "user", "content": "Be brief.\n\nWhere was Tesla born?"}]
    assert "authorization" not in request.headers
    assert "seed" not in request.body
    assert "stop" not in request.body


async def test_tokens_go_out_while_the_server_still_thinks(server, generator):
    more = asyncio.Event()
    server.reply = Reply([chunk("In "), more, chunk("Smiljan."), chunk(finish_reason="stop"), DONE])
    events = generator.generate(PROMPT, Sampling(), budget=Budget.of(WAIT_S))
    assert await anext(events) == TextPiece("In ")
    more.set()
    assert await anext(events) == TextPiece("Smiljan.")
    assert isinstance(await anext(events), GenerationEnd)


@pytest.mark.parametrize(
    "finish",
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("model_length", FinishReason.LENGTH),
        ("eos", FinishReason.STOP),
    ],
)
async def test_the_finish_reason_and_usage_are_the_servers(server, generator, finish):
    server.reply = answer("Smiljan.", finish_reason=finish[0], counts=(321, 9))
    events = await answered(generator)
    assert events[-1] == GenerationEnd(finish[1], prompt_tokens=321, completion_tokens=9)


@pytest.mark.parametrize(
    "reason", ["content_filter", "abort", "error", "cancelled", "timeout", "tool_calls", "function_call", "ABORT"]
)
async def test_an_answer_that_was_given_up_is_not_a_whole_one(server, generator, reason):
    server.reply = answer("Smil", finish_reason=reason)
    assert (await failed(generator, ModelUnavailable))[0] == "Smil"


async def test_a_server_that_does_not_count_leaves_counting_to_the_pipeline(server, generator):
    server.reply = answer("Smiljan.", counts=None)
    assert (await answered(generator))[-1] == GenerationEnd(FinishReason.STOP)


async def test_usage_in_the_last_chunk_with_choices_counts_too(server, generator):
    counts = {"prompt_tokens": 3, "completion_tokens": 2}
    server.reply = Reply([chunk("Smiljan."), chunk(finish_reason="stop", usage=counts), DONE])
    assert (await answered(generator))[-1] == GenerationEnd(FinishReason.STOP, 3, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_characters_cut_between_chunks_arrive_whole(server, generator, size):
    text = "In Smiljan \u2013 \u0421\u043c\u0438\u0459\u0430\u043d \U0001f5fa, line\u2028separator."
    body = chunk(text) + chunk(finish_reason="stop") + usage(1, 1) + DONE
    server.reply = Reply([body[start : start + size] for start in range(0, len(body), size)])
    assert text_of(await answered(generator)) == text


@pytest.mark.parametrize(
    "body",
    [
        b": a comment\n\nevent: message\nid: 1\nretry: 3\n" + chunk("Yes.") + chunk(finish_reason="stop") + DONE,
        (chunk("Yes.") + chunk(finish_reason="stop") + DONE).replace(b"\n", b"\r\n"),
        (chunk("Yes.") + chunk(finish_reason="stop") + DONE).replace(b"data: ", b"data:"),
        chunk("Yes.") + chunk(finish_reason="stop"),
        (chunk("Yes.") + chunk(finish_reason="stop")).rstrip(b"\n"),
        chunk()
        + chunk("")
        + chunk("Yes.")
        + b"data: \n\n"
        + chunk(finish_reason="stop")
        + DONE
        + b"data: nonsense\n\n",
    ],
)
async def test_every_dialect_of_event_streams_is_understood(server, generator, body):
    server.reply = Reply([body])
    assert text_of(await answered(generator)) == "Yes."


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]},
        {"choices": [{"text": "Yes.", "finish_reason": "stop"}]},
        {"outputs": [{"text": "Yes.", "finish_reason": "stop"}]},
        {"output_text": "Yes."},
    ],
)
async def test_a_server_that_does_not_stream_is_understood(server, generator, body):
    data = json.dumps(body | {"usage": {"prompt_tokens": 4, "completion_tokens": 2}}).encode()
    server.reply = Reply([data[:9], data[9:]], headers={"content-type": "application/json"})
    assert await answered(generator) == [TextPiece("Yes."), GenerationEnd(FinishReason.STOP, 4, 2)]


@pytest.mark.parametrize(
    "tail",
    [
        b"data: {not json}\n\n",
        b'data: ["a list"]\n\n',
        b'data: {"error": {"message": "gpu-node-7 ran out of memory"}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\xfe\n\n",
        b"x" * (MAX_LINE_BYTES + 1),
        DONE,
        b"",
    ],
)
async def test_a_stream_that_goes_wrong_fails_after_what_was_said(server, generator, tail):
    server.reply = Reply([chunk("In "), tail] if tail else [chunk("In ")])
    assert (await failed(generator, ModelUnavailable))[0] == "In "


async def test_a_connection_dropped_in_mid_answer_fails_after_what_was_said(server, generator):
    server.reply = Reply([chunk("In ")], drops=True)
    assert (await failed(generator, ModelUnavailable))[0] == "In "


async def test_a_model_that_falls_silent_fails_after_the_stall_timeout(server, client):
    generator = OpenAiGenerator(client, base_url=server.base_url, model=MODEL, stall_timeout_s=0.05)
    server.reply = Reply([chunk("In "), FOREVER])
    said, _ = await failed(generator, ModelUnavailable)
    assert said == "In "
    await asyncio.wait_for(server.hung_up.wait(), WAIT_S)


async def test_the_first_token_may_take_longer_than_a_stall(server, client):
    generator = OpenAiGenerator(client, base_url=server.base_url, model=MODEL, stall_timeout_s=0.05)
    prefilled = asyncio.Event()
    server.reply = Reply([chunk(), prefilled, *answer("Smiljan.").pieces])
    asyncio.get_running_loop().call_later(0.15, prefilled.set)
    assert text_of(await answered(generator)) == "Smiljan."


@pytest.mark.parametrize("pieces", [[FOREVER], [chunk(), FOREVER]])
async def test_a_deadline_before_the_first_token_is_a_deadline(server, generator, pieces):
    server.reply = Reply(pieces)
    assert (await failed(generator, DeadlineExceeded, seconds=0.1))[0] == ""
    await asyncio.wait_for(server.hung_up.wait(), WAIT_S)


async def test_a_deadline_in_mid_answer_is_a_deadline_and_not_a_stall(server, generator):
    server.reply = Reply([chunk("In "), FOREVER])
    assert (await failed(generator, DeadlineExceeded, seconds=0.2))[0] == "In "


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "retry_after_s"),
    [
        (429, {}, b"{}", ModelOverloaded, 1.0),
        (429, {"retry-after": "4"}, b"{}", ModelOverloaded, 4.0),
        (503, {}, b'{"error": {"message": "Loading model on gpu-node-7"}}', ModelCold, 30.0),
        (503, {"retry-after": "12"}, b"model is warming up", ModelCold, 12.0),
        (503, {}, b"no healthy upstream", ModelUnavailable, None),
        (500, {}, b"Traceback: gpu-node-7", ModelUnavailable, None),
        (502, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", ModelUnavailable, None),
        (400, {}, b"prompt too long: Where was Tesla born?", ModelUnavailable, None),
        (401, {}, b"bad key sk-secret", ModelUnavailable, None),
        (404, {}, b"no such model", ModelUnavailable, None),
        (302, {"location": "http://elsewhere/"}, b"", ModelUnavailable, None),
    ],
)
async def test_a_refusal_becomes_a_typed_error_without_the_servers_words(
    server, generator, status, headers, body, error, retry_after_s
):
    server.reply = Reply([body] if body else [], status=status, headers=headers)
    said, raised = await failed(generator, error)
    assert (said, type(raised), raised.retry_after_s) == ("", error, retry_after_s)


async def test_a_server_that_is_not_there_is_unavailable(client, server):
    generator = OpenAiGenerator(client, base_url="http://127.0.0.1:1/v1", model=MODEL)
    assert (await failed(generator, ModelUnavailable))[0] == ""


async def test_a_server_that_does_not_speak_http_is_unavailable(client):
    async def babble(reader, writer):
        await reader.read(10)
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    other = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        generator = OpenAiGenerator(client, base_url=f"http://127.0.0.1:{port}/v1", model=MODEL)
        assert (await failed(generator, ModelUnavailable))[0] == ""


async def test_the_key_shows_neither_in_the_generator_nor_in_logs(server, client, caplog):
    caplog.set_level(logging.DEBUG)
    generator = OpenAiGenerator(client, base_url=server.base_url, model=MODEL, api_key=SecretStr("sk-secret"))
    await answered(generator)
    assert "sk-secret" not in repr(vars(generator))
    assert "Tesla" not in caplog.text


async def test_a_connection_is_used_again_after_a_whole_answer(server, generator):
    await answered(generator)
    await answered(generator)
    assert len(server.requests) == 2
