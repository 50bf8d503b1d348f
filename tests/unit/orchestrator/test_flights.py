"""Single flight (design.md section 3.4)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, RetrieverUnavailable, SearchUnavailable, ShuttingDown
from chassis.identity import LOCAL, Identity
from orchestrator.flights import FlightTable
from orchestrator.fold import fold
from orchestrator.types import (
    AnswerCompleted,
    AnswerDelta,
    CachePolicy,
    CacheStatus,
    DegradedReason,
    FinishReason,
)
from tests.unit.orchestrator.virtual import now, virtual
from tests.unit.orchestrator.world import question


async def settled():
    """Let everything that can run without a timer run."""
    for _ in range(200):
        await asyncio.sleep(0)


def asked(world, count, **changes):
    return [asyncio.create_task(world.ask(question(**changes))) for _ in range(count)]


@virtual
async def test_a_hundred_identical_misses_make_one_generation(world):
    world.generator.gap = 0.1
    answers = await asyncio.gather(*asked(world, 100))
    assert world.generator.started == 1
    assert len(world.retriever.retrievals) == 1
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.started.answer_id for answer in answers}) == 100
    statuses = [answer.started.cache.status for answer in answers]
    assert statuses.count(CacheStatus.MISS) == 1
    assert statuses.count(CacheStatus.JOINED) == 99


@virtual
async def test_the_leader_pays_and_the_others_save(world):
    world.generator.gap = 0.1
    answers = await asyncio.gather(*asked(world, 3))
    [leader] = [answer for answer in answers if answer.started.cache.status is CacheStatus.MISS]
    assert (leader.completed.usage.prompt_tokens, leader.completed.usage.completion_tokens) == (100, 10)
    assert leader.completed.cost.amount == pytest.approx(0.00012)
    for follower in (answer for answer in answers if answer is not leader):
        usage, cost = follower.completed.usage, follower.completed.cost
        assert (usage.prompt_tokens, usage.completion_tokens, usage.saved_tokens) == (0, 0, 110)
        assert (cost.amount, cost.saved) == (0.0, leader.completed.cost.amount)


@virtual
async def test_99_of_100_cancelled_the_generation_goes_on_and_is_cached(world):
    world.generator.gap = 0.1
    tasks = asked(world, 100)
    await asyncio.sleep(0.15)
    for task in tasks[:99]:
        task.cancel()
    answer = await tasks[99]
    assert answer.text == "The lease lasts 30 seconds [1]."
    assert world.generator.stopped_early == 0
    assert (await world.ask()).started.cache.status is CacheStatus.HIT_EXACT


@virtual
async def test_all_cancelled_the_generation_stops_and_nothing_is_cached(world):
    world.generator.gap = 0.1
    tasks = asked(world, 100)
    await asyncio.sleep(0.15)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert world.generator.stopped_early == 1
    assert world.generator.said == 1
    assert world.pipeline.generations == 0
    assert (await world.ask()).started.cache.status is CacheStatus.MISS


@virtual
async def test_closing_the_events_of_the_only_waiter_stops_the_generation(world):
    world.generator.gap = 0.1
    async with aclosing(world.pipeline.ask(question(), budget=Budget.of(30, now))) as events:
        async for event in events:
            if isinstance(event, AnswerDelta):
                break
    assert world.generator.stopped_early == 1


@virtual
async def test_a_late_waiter_replays_from_the_beginning_under_its_own_ids(world):
    world.generator.gap = 0.1
    first = asyncio.create_task(world.events())
    await asyncio.sleep(0.25)
    second = await world.events(question(request_id="r-2"))
    assert fold(second).text == fold(await first).text
    assert fold(second).started.request_id == "r-2"
    assert fold(second).started.answer_id != fold(await first).started.answer_id


@virtual
async def test_a_waiter_with_a_short_deadline_leaves_alone(world):
    world.generator.gap = 1.0
    patient = asyncio.create_task(world.ask(seconds=30))
    await settled()
    hasty = await world.ask(seconds=2.5)
    assert hasty.completed.finish_reason is FinishReason.DEADLINE
    assert [lost.reason for lost in hasty.completed.degraded] == [DegradedReason.DEADLINE_TRIMMED]
    assert hasty.text == "The lease lasts 30"
    assert (await patient).text == "The lease lasts 30 seconds [1]."
    assert world.generator.started == 1


@virtual
async def test_a_hasty_leader_does_not_cost_the_others_their_answer(world):
    world.generator.gap = 1.0
    hasty = asyncio.create_task(world.ask(seconds=1.2))
    await settled()
    patient = asyncio.create_task(world.ask(seconds=30))
    assert (await hasty).completed.is_partial
    answer = await patient
    assert answer.completed.degraded == ()
    assert answer.text == "The lease lasts 30 seconds [1]."
    assert world.generator.started == 1


@virtual
async def test_a_hasty_leader_does_not_cost_the_others_their_passages(world):
    world.retriever.retrieve_delay = 0.2
    began = now()
    hasty = asyncio.create_task(world.ask(seconds=0.18))
    await asyncio.sleep(0.02)
    patient = asyncio.create_task(world.ask(seconds=30))
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert now() - began < 0.18
    assert (await patient).text == "The lease lasts 30 seconds [1]."
    assert len(world.retriever.retrievals) == 1


@virtual
async def test_a_retriever_too_slow_for_a_hasty_leader_and_its_timebox_is_unavailable_to_the_others(world):
    world.retriever.retrieve_delay = 1.0
    hasty = asyncio.create_task(world.ask(seconds=0.18))
    await asyncio.sleep(0.02)
    with pytest.raises(RetrieverUnavailable):
        await world.ask(seconds=30)
    with pytest.raises(DeadlineExceeded):
        await hasty


@virtual
async def test_a_retrieval_nobody_patient_waits_for_ends_with_the_hasty(world):
    world.retriever.retrieve_delay = 0.2
    results = await asyncio.gather(*(world.ask(seconds=0.18) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [DeadlineExceeded] * 2
    assert world.pipeline.generations == 0


@virtual
@pytest.mark.parametrize("policy", [CachePolicy.BYPASS, CachePolicy.REFRESH])
async def test_bypass_and_refresh_never_share(world, policy):
    world.generator.gap = 0.1
    shared, alone = asked(world, 1), asked(world, 2, cache_policy=policy)
    answers = await asyncio.gather(*shared, *alone)
    assert world.generator.started == 3
    assert [answer.started.cache.status for answer in answers[1:]] == [CacheStatus.SKIPPED] * 2


@virtual
async def test_redacted_questions_never_share(world):
    world.generator.gap = 0.1
    await asyncio.gather(*asked(world, 2, redacted=True))
    assert world.generator.started == 2


@virtual
@pytest.mark.parametrize(
    "identity",
    [Identity("other", roles=LOCAL.roles), Identity("local", groups=frozenset({"hr"}), roles=LOCAL.roles)],
)
async def test_other_tenants_and_groups_never_share(world, identity):
    world.generator.gap = 0.1
    await asyncio.gather(*asked(world, 1), *asked(world, 1, identity=identity))
    assert world.generator.started == 2


@virtual
async def test_an_ask_after_a_commit_does_not_join_a_flight_from_before_it(world):
    world.generator.gap = 0.1
    before = asked(world, 1)
    await asyncio.sleep(0.05)
    world.retriever.snapshot_now = world.retriever.snapshot_now.__class__("uid-1", 8, "retrieval@1", "embedder@1")
    after = await world.ask()
    assert after.started.cache.status is CacheStatus.MISS
    assert after.retrieval.generation == 8
    await asyncio.gather(*before)
    assert world.generator.started == 2


@virtual
async def test_a_flight_that_fails_fails_every_waiter_and_is_not_joined_again(world):
    world.retriever.retrieve_error = SearchUnavailable("both legs")
    world.retriever.retrieve_delay = 0.05
    results = await asyncio.gather(*asked(world, 3), return_exceptions=True)
    assert [type(result) for result in results] == [SearchUnavailable] * 3
    world.retriever.retrieve_error = None
    assert (await world.ask()).text


@virtual
async def test_a_slow_reader_slows_nobody(world):
    world.generator.gap = 0.1

    async def slowly():
        texts = []
        async with aclosing(world.pipeline.ask(question(), budget=Budget.of(30, now))) as events:
            async for event in events:
                await asyncio.sleep(1)
                texts += [event.text] if isinstance(event, AnswerDelta) else []
        return texts

    slow = asyncio.create_task(slowly())
    began = now()
    quick = await world.ask()
    assert now() - began < 0.6
    texts = await slow
    assert "".join(texts) == quick.text
    assert len(texts) < len(world.generator.pieces)  # what had piled up came as one


@virtual
async def test_first_text_is_at_once_and_later_text_in_company_under_load(world):
    world.generator.pieces = tuple(f"word{n} " for n in range(200))
    world.generator.gap = 0.001
    others = [asyncio.create_task(world.ask(question(f"Question number {n}?"))) for n in range(30)]
    await settled()
    arrivals = []
    async with aclosing(world.pipeline.ask(question(), budget=Budget.of(30, now))) as events:
        async for event in events:
            if isinstance(event, AnswerDelta):
                arrivals.append(now())
            if isinstance(event, AnswerCompleted):
                assert event.timings.first_token_ms < 5
    gaps = [after - before for before, after in pairwise(arrivals)]
    assert max(gaps) <= 0.022
    assert len(arrivals) < 30  # 200 tokens in 200 ms
    await asyncio.gather(*others)


@virtual
async def test_stopping_the_process_ends_flights_and_their_waiters(world):
    world.generator.gap = 10
    tasks = asked(world, 2)
    await asyncio.sleep(1)
    await world.pipeline.closed()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {getattr(result, "reason", None) for result in results} == {"SHUTTING_DOWN"}
    assert world.generator.stopped_early == 1


@virtual
async def test_a_snapshot_that_cannot_be_read_starts_no_flight(world):
    world.retriever.snapshot_error = RetrieverUnavailable("down")
    await asyncio.gather(*asked(world, 5), return_exceptions=True)
    assert world.generator.started == 0
    assert world.pipeline.generations == 0


@virtual
async def test_a_flight_stopped_before_its_first_step_ends_its_waiters_too():
    table: FlightTable[object] = FlightTable(now)

    async def never(flight):
        await asyncio.sleep(3_600)

    async with table.boarded("key", never, deadline=now() + 30) as (flight, is_leader):
        assert is_leader
        await table.stopped()
        await flight.moved_past(0)
        with pytest.raises(ShuttingDown):
            await flight.outcome()
