"""One error shape, wherever an error comes from."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

ASK = "/v1/collections/docs:ask"


def shape_of(error):
    return {name: type(value) for name, value in error.items()}


SHAPE = {"code": int, "status": str, "reason": str, "message": str, "requestId": str, "details": list}


@pytest.mark.parametrize(
    ("verb", "path", "body", "code", "status", "reason"),
    [
        ("POST", ASK, {"question": " "}, 400, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("POST", ASK, {"question": "q", "topK": -1}, 400, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("POST", ASK, {"question": "private"}, 401, "UNAUTHENTICATED", "CREDENTIALS_MISSING"),
        ("POST", "/v1/collections/nowhere:ask", {"question": "q"}, 404, "NOT_FOUND", "COLLECTION_NOT_FOUND"),
        ("POST", ASK, {"question": "busy"}, 429, "RESOURCE_EXHAUSTED", "OVERLOADED"),
        ("POST", ASK, {"question": "bug"}, 500, "INTERNAL", "INTERNAL"),
        ("GET", "/nowhere", None, 404, "UNIMPLEMENTED", "METHOD_UNKNOWN"),
        ("GET", ASK, None, 405, "UNIMPLEMENTED", "METHOD_UNKNOWN"),
        ("TRACE", ASK, None, 405, "UNIMPLEMENTED", "METHOD_UNKNOWN"),
    ],
)
async def test_an_error_has_the_one_shape(client, verb, path, body, code, status, reason):
    response = await client.request(verb, path, json=body, headers={"x-request-id": "mine-1"})
    error = response.json()["error"]
    assert shape_of(error) == SHAPE
    assert (response.status_code, error["code"], error["status"], error["reason"]) == (code, code, status, reason)
    assert error["requestId"] == response.headers["x-request-id"] == "mine-1"
    info = error["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == (reason, "askmesh")


async def test_every_bad_field_is_listed(client):
    response = await client.post(ASK, json={"question": ""})
    [bad] = [item for item in response.json()["error"]["details"] if item["@type"].endswith("BadRequest")]
    assert [violation["field"] for violation in bad["fieldViolations"]] == ["question"]


async def test_retry_after_is_whole_seconds_rounded_up(client):
    response = await client.post(ASK, json={"question": "busy"})
    assert response.headers["retry-after"] == "2"
    assert response.json()["error"]["details"][-1]["retryDelay"] == "1.400s"


async def test_a_401_names_its_scheme(client):
    response = await client.post(ASK, json={"question": "private"})
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_405_says_what_the_path_takes(client):
    response = await client.delete(ASK)
    assert response.headers["allow"] == "OPTIONS, POST"
    assert (await client.options(ASK)).headers["allow"] == "OPTIONS, POST"


async def test_an_internal_error_tells_nothing_of_itself(client):
    response = await client.post(ASK, json={"question": "bug of mine"})
    assert "secret" not in response.text
    assert "mine" not in response.text


async def test_a_bug_of_the_gateway_is_internal_and_logged_without_its_text(client, monkeypatch, caplog):
    def broken(*_):
        raise ValueError("the words of a question")

    monkeypatch.setattr("gateway.endpoints.to_request", broken)
    with caplog.at_level(logging.ERROR):
        response = await client.post(ASK, json={"question": "q"})
    assert response.json()["error"]["reason"] == "INTERNAL"
    assert "words" not in response.text
    assert caplog.records
    assert all("words" not in str(vars(record)) for record in caplog.records)


async def test_services_that_are_gone_are_unavailable_at_once(started, backend):
    async with started() as (_, client):
        await backend.drain()
        response = await client.post(ASK, json={"question": "q"})
        assert (response.status_code, response.json()["error"]["reason"]) == (503, "BACKEND_UNAVAILABLE")
        response = await client.post("/v1/collections/docs:retrieve", json={"query": "q"})
        assert (response.status_code, response.json()["error"]["reason"]) == (503, "RETRIEVER_UNAVAILABLE")
        assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("header", [{"x-askmesh-timeout-ms": "200"}, {"grpc-timeout": "200m"}])
async def test_a_callers_deadline_reaches_the_service_and_ends_the_call(client, seen, header):
    response = await client.post(ASK, json={"question": "wait"}, headers=header)
    assert (response.status_code, response.json()["error"]["reason"]) == (504, "DEADLINE_EXCEEDED")
    assert seen.contexts[0].budget.deadline - seen.contexts[0].budget.clock() < 0.2


async def test_without_a_deadline_there_is_the_default(client, seen):
    await client.post(ASK, json={"question": "q"})
    assert 25 < seen.contexts[0].budget.remaining_s() <= 30


@pytest.mark.parametrize("header", [{"x-askmesh-timeout-ms": "soon"}, {"grpc-timeout": "5"}, {"grpc-timeout": "5x"}])
async def test_a_deadline_that_is_none_is_refused(client, header):
    response = await client.post(ASK, json={"question": "q"}, headers=header)
    assert response.json()["error"]["reason"] == "MESSAGE_MALFORMED"


async def test_ids_credentials_and_variant_reach_the_service(client, seen):
    headers = {"x-request-id": "r-1", "authorization": "Bearer key", "x-askmesh-variant": "v2"}
    await client.post(ASK, json={"question": "q"}, headers=headers)
    context = seen.contexts[0]
    assert (context.request_id, context.credentials, context.variant) == ("r-1", "Bearer key", "v2")


@pytest.mark.parametrize("token", ["ü", "a\tb", "\u00a0key", "x" * 8_186], ids=["umlaut", "tab", "nbsp", "too long"])
@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("POST", ASK, b'{"question": "q"}'),
        ("POST", "/v1/collections/docs:streamAsk", b'{"question": "q"}'),
        ("POST", "/v1/ask/stream", b'{"question": "q"}'),
        ("PUT", "/v1/collections/docs/documents/a", b"the text"),
    ],
)
async def test_credentials_that_no_call_can_carry_are_refused_at_once(client, seen, verb, path, body, token):
    headers = {"authorization": f"Bearer {token}".encode("latin-1"), "content-type": "text/plain"}
    response = await client.request(verb, path, content=body, headers=headers, timeout=5)
    assert (response.status_code, response.json()["error"]["reason"]) == (401, "CREDENTIALS_INVALID")
    assert token not in response.text
    assert not seen.contexts


async def test_the_longest_credentials_pass_beside_a_long_trace_state(client, seen):
    key = "Bearer " + "x" * 8_185
    trace = {
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "tracestate": ",".join(f"v{n}={'s' * 240}" for n in range(30)),
    }
    response = await client.post(ASK, json={"question": "q"}, headers={"authorization": key} | trace)
    assert (response.status_code, seen.contexts[0].credentials) == (200, key)


@pytest.mark.parametrize("name", ["x-request-id", "x-askmesh-variant", "tracestate"])
async def test_another_header_that_no_call_can_carry_is_left_out(client, seen, name):
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", name: "v=ü\tü".encode("latin-1")}
    response = await client.post(ASK, json={"question": "q"}, headers=headers, timeout=5)
    assert response.status_code == 200
    assert seen.contexts[0].variant == ""


async def test_a_request_id_that_is_none_is_replaced(client, seen):
    response = await client.post(ASK, json={"question": "q"}, headers={"x-request-id": "a b"})
    assert response.headers["x-request-id"] == seen.contexts[0].request_id != "a b"


async def test_a_unary_caller_who_leaves_cancels_the_call(client, seen, telemetry):
    asking = asyncio.create_task(client.post(ASK, json={"question": "wait"}))
    async with asyncio.timeout(5):
        await seen.started.wait()
        asking.cancel()
        await seen.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_what_is_no_http_gets_the_same_shape(gateway):
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 not http\r\n\r\n")
    answer = await reader.read()
    writer.close()
    response = httpx.Response(400, content=answer.partition(b"\r\n\r\n")[2])
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert shape_of(response.json()["error"]) == SHAPE
