"""Answers held for readers whose connection broke."""

from __future__ import annotations

import asyncio

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import Overloaded, ShuttingDown
from gateway.replay import AnswerBuffer


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def event(sequence):
    found = pb.StreamAskResponse(sequence=sequence)
    if sequence == 1:
        found.answer_started.answer_id = "a1"
    else:
        found.answer_delta.text = str(sequence)
    return found


async def whole(answer_id="a1", count=3):
    for sequence in range(1, count + 1):
        made = event(sequence)
        if sequence == 1:
            made.answer_started.answer_id = answer_id
        yield made


async def read(reader):
    found = []
    with reader:
        while (events := await reader.next(None)) is not None:
            found += [item.sequence for item in events]
    return found


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def buffer(clock):
    made = AnswerBuffer(ttl_s=60, max_answers=2, clock=clock)
    yield made
    await made.aclose()


async def test_a_finished_answer_is_read_again_from_its_beginning(buffer):
    assert await read(buffer.begin(whole(), "me")) == [1, 2, 3]
    assert await read(buffer.find("a1", "me")) == [1, 2, 3]


async def test_only_its_owner_finds_an_answer(buffer):
    await read(buffer.begin(whole(), "me"))
    assert buffer.find("a1", "you") is None


async def test_a_finished_answer_is_forgotten_after_its_time(buffer, clock):
    await read(buffer.begin(whole(), "me"))
    clock.now = 59.9
    assert buffer.find("a1", "me") is not None
    clock.now = 60.1
    assert buffer.find("a1", "me") is None


async def test_the_oldest_answer_makes_room(buffer):
    for answer_id in ("a1", "a2", "a3"):
        await read(buffer.begin(whole(answer_id), "me"))
    assert [buffer.find(name, "me") is not None for name in ("a1", "a2", "a3")] == [False, True, True]


async def test_without_time_to_live_nothing_is_held(clock):
    buffer = AnswerBuffer(ttl_s=0, max_answers=10, clock=clock)
    await read(buffer.begin(whole(), "me"))
    assert buffer.find("a1", "me") is None


async def test_the_last_reader_who_leaves_cancels_the_answer(buffer):
    cancelled = asyncio.Event()

    async def endless():
        try:
            yield event(1)
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    first = buffer.begin(endless(), "me")
    with first:
        await first.next(None)
        second = buffer.find("a1", "me")
        second.__enter__()
    await asyncio.sleep(0)
    assert not cancelled.is_set()
    second.__exit__(None, None, None)
    async with asyncio.timeout(5):
        await cancelled.wait()
    assert buffer.find("a1", "me") is None


async def test_a_failure_reaches_the_reader_after_the_events_before_it(buffer):
    async def breaking():
        yield event(1)
        raise Overloaded("too many calls")

    reader = buffer.begin(breaking(), "me")
    with reader:
        assert [item.sequence for item in await reader.next(None)] == [1]
        with pytest.raises(Overloaded):
            await reader.next(None)
    assert buffer.find("a1", "me") is None


async def test_silence_is_told_apart_from_the_end(buffer):
    async def slow():
        await asyncio.Event().wait()
        yield event(1)

    reader = buffer.begin(slow(), "me")
    with reader:
        assert await reader.next(0.01) == ()


async def test_closing_ends_readers_with_a_reason(clock):
    async def slow():
        yield event(1)
        await asyncio.Event().wait()

    buffer = AnswerBuffer(ttl_s=60, max_answers=2, clock=clock)
    reader = buffer.begin(slow(), "me")
    with reader:
        await reader.next(None)
        await buffer.aclose()
        with pytest.raises(ShuttingDown):
            await reader.next(None)
