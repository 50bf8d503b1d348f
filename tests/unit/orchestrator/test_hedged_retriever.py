"""Hedging (design.md section 3.5): off until it can know, within its budget, never a second answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from chassis.budget import Budget
from chassis.errors import CollectionNotFound, RetrieverUnavailable
from orchestrator.retrieval.hedged import HedgedRetriever
from orchestrator.types import Retrieval
from tests.unit.orchestrator.virtual import now, virtual
from tests.unit.orchestrator.world import SNAPSHOT, question


@dataclass
class Scripted:
    name: str
    delay: float = 0.01
    error: Exception | None = None
    calls: int = 0
    cancelled: int = 0
    delays: list[float] = field(default_factory=list)

    async def retrieve(self, question, vector, fingerprint, *, budget):
        self.calls += 1
        try:
            await asyncio.sleep(self.delays.pop(0) if self.delays else self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return Retrieval((), SNAPSHOT, milliseconds={"first": 1.0, "second": 2.0}[self.name])


def pair(endpoints=2):
    first, second = Scripted("first"), Scripted("second")
    return first, second, HedgedRetriever(first, second, endpoints=endpoints, clock=now)


async def call(hedged):
    return await hedged.retrieve(question(), None, "", budget=Budget.of(1, now))


async def warm(hedged, calls=100):
    for _ in range(calls):
        await call(hedged)


@virtual
async def test_a_slow_call_is_made_twice_and_the_first_reply_wins():
    first, second, hedged = pair()
    await warm(hedged)
    first.delay = 0.5
    began = now()
    assert (await call(hedged)).milliseconds == 2.0
    assert now() - began == pytest.approx(0.02, abs=1e-6)
    assert (first.cancelled, second.calls) == (1, 1)


@virtual
async def test_with_fewer_than_100_samples_nothing_is_hedged():
    first, second, hedged = pair()
    await warm(hedged, 99)
    first.delay = 0.5
    await call(hedged)
    assert second.calls == 0


@virtual
async def test_with_one_endpoint_nothing_is_hedged():
    first, second, hedged = pair(endpoints=1)
    await warm(hedged, 200)
    first.delay = 0.5
    await call(hedged)
    assert second.calls == 0


@virtual
async def test_when_everything_is_slow_at_most_5_percent_more_calls_are_made():
    first, second, hedged = pair()
    await warm(hedged, 200)
    second.delay = 0.5
    saved_up = 10
    for _ in range(400):
        first.delays = [0.4]
        await call(hedged)
    assert second.calls <= saved_up + 0.05 * 400


@virtual
async def test_a_failure_waits_for_the_other_try():
    first, _, hedged = pair()
    await warm(hedged)
    first.delay, first.error = 0.015, RetrieverUnavailable("gone")
    assert (await call(hedged)).milliseconds == 2.0


@virtual
async def test_of_two_that_end_at_once_the_good_one_wins():
    first, second, hedged = pair()
    await warm(hedged)
    first.delay = 0.02  # as long as the hedge's start and its own .01 s
    for first.error, second.error in ((None, RetrieverUnavailable("down")), (RetrieverUnavailable("down"), None)) * 20:
        hedged._tokens = 1.0
        assert (await call(hedged)).milliseconds == (1.0 if first.error is None else 2.0)
    assert second.calls == 40


@virtual
async def test_a_failure_before_the_hedge_fails_at_once():
    first, second, hedged = pair()
    await warm(hedged)
    first.delay, first.error = 0.001, RetrieverUnavailable("gone")
    with pytest.raises(RetrieverUnavailable):
        await call(hedged)
    assert second.calls == 0


@virtual
async def test_what_is_said_of_the_request_is_an_answer_too():
    first, second, hedged = pair()
    await warm(hedged)
    first.delay, first.error, second.delay = 0.015, CollectionNotFound("none"), 0.5
    with pytest.raises(CollectionNotFound):
        await call(hedged)
    assert second.cancelled == 1


@virtual
async def test_cancelling_the_call_cancels_both_tries():
    first, second, hedged = pair()
    await warm(hedged)
    first.delay = second.delay = 0.5
    task = asyncio.create_task(call(hedged))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (first.cancelled, second.cancelled) == (1, 1)
