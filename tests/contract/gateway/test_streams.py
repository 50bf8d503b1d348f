"""Answers as server-sent events."""

from __future__ import annotations

import asyncio
import json

import pytest

STREAM = "/v1/collections/docs:streamAsk"
EVENTS = [
    "answer.started",
    "retrieval.completed",
    "citation.added",
    "answer.delta",
    "answer.delta",
    "answer.completed",
]


def events_in(text):
    """(event, id, data) of each event, as the WHATWG parser has them; comments left out."""
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line and not line.startswith(":")]
        fields = {name: value for name, _, value in lines}
        data = "\n".join(value for name, _, value in lines if name == "data")
        if fields:
            found.append((fields.get("event"), fields.get("id"), data))
    return found


async def read_until(response, text):
    """What arrived up to and with `text`; the stream stays open."""
    return await pieces_until(response.aiter_text(), text)


async def pieces_until(pieces, text):
    arrived = ""
    async for piece in pieces:
        arrived += piece
        if text in arrived:
            break
    return arrived


async def test_a_stream_has_the_contracts_events_and_ids(client):
    response = await client.post(STREAM, json={"question": "q"})
    events = events_in(response.text)
    assert [event[0] for event in events] == EVENTS
    assert [event[1] for event in events] == [f"a1:{sequence}" for sequence in range(1, 7)]
    assert json.loads(events[3][2]) == {"text": "You have\n30 days"}
    assert json.loads(events[5][2])["citedMarkers"] == [1]


async def test_a_marker_that_is_announced_again_comes_again_and_in_its_place(client):
    whole = events_in((await client.post(STREAM, json={"question": "twice"})).text)
    assert [event[0] for event in whole] == [*EVENTS[:5], "citation.added", "answer.delta", "answer.completed"]
    rest = events_in((await client.post(STREAM, json={"question": "twice"}, headers={"last-event-id": "a1:5"})).text)
    assert rest == whole[5:]
    quotes = [json.loads(data)["citation"] for name, _, data in whole if name == "citation.added"]
    assert [(quote["marker"], quote["startChar"], quote["quote"]) for quote in quotes] == [
        (1, 0, "30 days"),
        (1, 3, "days"),
    ]


async def test_a_stream_is_neither_compressed_nor_buffered(client):
    response = await client.post(STREAM, json={"question": "q"}, headers={"accept-encoding": "gzip"})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    assert "no-cache" in response.headers["cache-control"]
    assert "content-encoding" not in response.headers


async def test_events_arrive_while_the_answer_is_made(client, seen):
    async with client.stream("POST", STREAM, json={"question": "wait"}) as response:
        arrived = await read_until(response, "answer.delta")
        assert "answer.completed" not in arrived
        assert not seen.release.is_set()


async def test_a_silent_stream_is_kept_alive_by_comments(started, seen):
    async with (
        started(heartbeat_s=0.05) as (_, client),
        client.stream("POST", STREAM, json={"question": "wait"}) as response,
    ):
        arrived = await read_until(response, ": still here\n\n")
    assert arrived.endswith(": still here\n\n")


async def test_an_error_before_the_first_event_is_a_plain_http_error(client):
    response = await client.post(STREAM, json={"question": "busy"})
    assert (response.status_code, response.headers["content-type"]) == (429, "application/json")


async def test_an_error_after_the_first_event_is_one_error_event(client):
    response = await client.post(STREAM, json={"question": "broken"})
    events = events_in(response.text)
    assert [event[0] for event in events] == [*EVENTS[:4], "error"]
    error = json.loads(events[-1][2])["error"]
    assert (error["code"], error["reason"]) == (429, "OVERLOADED")
    assert error["requestId"] == response.headers["x-request-id"]


async def test_a_stream_without_its_last_event_failed(client):
    response = await client.post(STREAM, json={"question": "endless"})
    assert events_in(response.text)[-1][0] == "error"


async def test_a_caller_who_leaves_cancels_the_answer(client, seen):
    async with client.stream("POST", STREAM, json={"question": "wait"}) as response:
        await read_until(response, "answer.delta")
    async with asyncio.timeout(5):
        await seen.cancelled.wait()


async def test_a_finished_answer_is_resumed_after_the_last_event_seen(client, seen):
    whole = events_in((await client.post(STREAM, json={"question": "q"})).text)
    response = await client.post(STREAM, headers={"last-event-id": "a1:4"})
    assert events_in(response.text) == whole[4:]
    assert seen.asks == 1


@pytest.mark.parametrize("last_id", ["a1:6", "a1:99", "a7:1", "nonsense", "a1:x"])
async def test_without_a_rest_there_is_204_and_never_a_new_ask(client, seen, last_id):
    await client.post(STREAM, json={"question": "q"})
    response = await client.post(STREAM, json={"question": "q"}, headers={"last-event-id": last_id})
    assert (response.status_code, response.content) == (204, b"")
    assert seen.asks == 1


async def test_somebody_else_cannot_resume_an_answer(client):
    await client.post(STREAM, json={"question": "q"}, headers={"authorization": "Bearer one"})
    response = await client.post(STREAM, headers={"last-event-id": "a1:1", "authorization": "Bearer two"})
    assert response.status_code == 204


async def test_a_resumed_reader_keeps_an_answer_alive_that_its_first_reader_left(client, seen):
    async with client.stream("POST", STREAM, json={"question": "wait"}) as first:
        await read_until(first, "answer.delta")
        async with client.stream("POST", STREAM, headers={"last-event-id": "a1:3"}) as second:
            pieces = second.aiter_text()
            await pieces_until(pieces, "answer.delta")
            await first.aclose()
            seen.release.set()
            rest = await pieces_until(pieces, "answer.completed")
    assert "answer.completed" in rest
    assert not seen.cancelled.is_set()


async def test_a_cancelled_answer_is_not_held(client, seen):
    async with client.stream("POST", STREAM, json={"question": "wait"}) as response:
        await read_until(response, "answer.delta")
    async with asyncio.timeout(5):
        await seen.cancelled.wait()
    assert (await client.post(STREAM, headers={"last-event-id": "a1:1"})).status_code == 204


async def test_a_gateway_that_stops_ends_its_streams(started, seen):
    async with started() as (_, client):
        stream = client.stream("POST", STREAM, json={"question": "wait"})
        response = await stream.__aenter__()
        await read_until(response, "answer.delta")
    assert seen.started.is_set()  # leaving the block above did not hang on the open stream
