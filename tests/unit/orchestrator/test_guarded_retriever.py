"""A retriever behind its breaker, and the gates before the timeboxes."""

from __future__ import annotations

import asyncio

import pytest

from chassis.breaker import Breaker, Thresholds
from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, RetrieverUnavailable
from orchestrator.generation.gated import GatedGenerator
from orchestrator.retrieval.guarded import MIN_CALLS, GuardedRetriever
from orchestrator.turns import Turns
from orchestrator.types import Prompt, Sampling
from tests.unit.orchestrator.virtual import now, virtual
from tests.unit.orchestrator.world import FakeGenerator, FakeRetriever, question


def guarded(inner):
    return GuardedRetriever(
        inner, Breaker("retriever", now, error=RetrieverUnavailable, thresholds=Thresholds(min_calls=MIN_CALLS))
    )


async def look(retriever, seconds):
    return await retriever.snapshot(question(), budget=Budget.of(seconds, now))


@virtual
async def test_after_one_wave_of_failures_nobody_waits_for_a_timebox():
    inner = FakeRetriever(snapshot_delay=60)
    retriever = guarded(inner)
    await asyncio.gather(*(look(retriever, 0.2) for _ in range(MIN_CALLS)), return_exceptions=True)
    began = now()
    with pytest.raises(RetrieverUnavailable) as caught:
        await look(retriever, 0.2)
    assert now() == began
    assert caught.value.retry_after_s
    assert inner.snapshots == MIN_CALLS


@virtual
async def test_callers_with_tiny_deadlines_do_not_shut_the_retriever_off():
    inner = FakeRetriever(snapshot_delay=0.05)
    retriever = guarded(inner)
    for _ in range(3 * MIN_CALLS):
        with pytest.raises(DeadlineExceeded):
            await look(retriever, 0.01)
    assert await look(retriever, 0.2) == inner.snapshot_now


@virtual
async def test_it_is_asked_again_after_a_second():
    inner = FakeRetriever(snapshot_delay=60)
    retriever = guarded(inner)
    await asyncio.gather(*(look(retriever, 0.2) for _ in range(MIN_CALLS)), return_exceptions=True)
    inner.snapshot_delay = 0
    await asyncio.sleep(1.01)
    assert await look(retriever, 0.2) == inner.snapshot_now


@virtual
async def test_retrievals_wait_for_their_turn_outside_of_their_timebox(world):
    world.retriever.retrieve_delay = 0.2
    asks = [world.ask(question(f"Question number {n}?")) for n in range(40)]
    answers = await asyncio.gather(*asks)
    assert all(answer.completed.degraded == () for answer in answers)


@virtual
async def test_a_gated_generator_says_one_answer_at_a_time_and_frees_its_place_when_left():
    inner = FakeGenerator(gap=0.1)
    gated = GatedGenerator(inner, 1)
    prompt = Prompt("", "", "q", (), 1, is_estimate=True)

    async def say():
        stream = gated.generate(prompt, Sampling(), budget=Budget.of(30, now))
        return [event async for event in stream]

    first, second = asyncio.create_task(say()), asyncio.create_task(say())
    await asyncio.sleep(0.15)
    assert inner.started == 1
    first.cancel()
    events = await second
    assert inner.started == 2
    assert len(events) == len(inner.pieces) + 1
    assert inner.stopped_early == 1


@virtual
@pytest.mark.parametrize("hangs", ["snapshot_delay", "retrieve_delay"])
async def test_a_crowd_before_a_retriever_that_hangs_is_told_within_300_ms(world, hangs):
    for number in range(50):  # it was well until now
        await world.ask(question(f"Warm-up {number}?"))
    setattr(world.retriever, hangs, 60.0)
    began = now()
    asks = [world.ask(question(f"Question number {n}?")) for n in range(64)]
    results = await asyncio.gather(*asks, return_exceptions=True)
    assert {type(result) for result in results} == {RetrieverUnavailable}
    assert now() - began <= 0.300


@virtual
async def test_a_cancelled_wait_gives_its_place_back():
    turns = Turns(1, 0.25, now)

    async def hold(seconds):
        async with turns.turn():
            await asyncio.sleep(seconds)

    first, second = asyncio.create_task(hold(0.1)), asyncio.create_task(hold(0.1))
    await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.wait_for(hold(0.01), 0.05)
