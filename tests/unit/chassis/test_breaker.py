"""When a breaker opens, whom it refuses, and how it closes again."""

from __future__ import annotations

import asyncio

import pytest

from chassis.breaker import Breaker, State, Thresholds
from chassis.errors import CollectionNotFound, DeadlineExceeded, SearchUnavailable, StorageFull
from chassis.telemetry import Telemetry

LIMITS = Thresholds(window_s=10.0, min_calls=4, failure_rate=0.5, slow_s=0.2, slow_rate=0.75, open_s=2.0)


@pytest.fixture
def breaker(clock):
    return Breaker("search", clock, error=SearchUnavailable, thresholds=LIMITS)


async def answer() -> str:
    return "ok"


def failing(error: BaseException):
    async def work():
        raise error

    return work


async def fail(breaker, count: int, error: BaseException | None = None) -> None:
    for _ in range(count):
        with pytest.raises(type(error or SearchUnavailable(""))):
            await breaker.call(failing(error or SearchUnavailable("down")))


async def test_too_many_failures_open_it_and_calls_are_refused_without_being_made(breaker):
    await fail(breaker, 4)
    made = []

    async def work():
        made.append(1)

    with pytest.raises(SearchUnavailable) as refused:
        await breaker.call(work)
    assert breaker.state is State.OPEN
    assert made == []
    assert refused.value.retry_after_s == 2.0


async def test_fewer_calls_than_the_least_never_open_it(breaker):
    await fail(breaker, 3)
    assert breaker.state is State.CLOSED


async def test_failures_below_the_rate_do_not_open_it(breaker):
    for _ in range(5):
        await breaker.call(answer)
    await fail(breaker, 4)
    assert breaker.state is State.CLOSED


async def test_failures_older_than_the_window_are_forgotten(breaker, clock):
    await fail(breaker, 3)
    clock.advance(10.0)
    await fail(breaker, 1)
    assert breaker.state is State.CLOSED


async def test_slow_successes_open_it(breaker, clock):
    async def slow():
        clock.advance(0.3)

    for _ in range(4):
        await breaker.call(slow)
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("error", [CollectionNotFound("none"), ValueError("ours"), StorageFull("full")])
async def test_an_error_that_does_not_mean_unavailable_does_not_open_it(breaker, error):
    await fail(breaker, 10, error)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("error", [DeadlineExceeded("late"), TimeoutError()])
async def test_running_out_of_time_counts_as_a_failure(breaker, error):
    await fail(breaker, 4, error)
    assert breaker.state is State.OPEN


async def test_after_its_time_one_probe_is_let_through_and_the_others_are_refused(breaker, clock):
    await fail(breaker, 4)
    clock.advance(2.0)
    go_on = asyncio.Event()
    probe = asyncio.create_task(breaker.call(go_on.wait))
    await asyncio.sleep(0)
    with pytest.raises(SearchUnavailable):
        await breaker.call(answer)
    go_on.set()
    await probe
    assert breaker.state is State.CLOSED
    assert await breaker.call(answer) == "ok"


async def test_a_probe_that_fails_opens_it_again_for_the_whole_time(breaker, clock):
    await fail(breaker, 4)
    clock.advance(2.0)
    await fail(breaker, 1)
    clock.advance(1.9)
    assert breaker.state is State.OPEN


async def test_a_cancelled_probe_says_nothing_and_makes_room_for_another(breaker, clock):
    await fail(breaker, 4)
    clock.advance(2.0)
    probe = asyncio.create_task(breaker.call(asyncio.Event().wait))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert breaker.state == State.HALF_OPEN
    assert await breaker.call(answer) == "ok"
    assert await breaker.call(answer) == "ok"  # closed: more than a probe is let through


async def test_a_late_failure_from_before_it_closed_says_nothing_about_now(breaker, clock):
    go_on = asyncio.Event()

    async def work():
        await go_on.wait()
        raise SearchUnavailable("late")

    late = asyncio.create_task(breaker.call(work))
    await asyncio.sleep(0)
    await fail(breaker, 4)
    clock.advance(2.0)
    await breaker.call(answer)
    go_on.set()
    with pytest.raises(SearchUnavailable):
        await late
    await fail(breaker, 3)
    assert breaker.state is State.CLOSED


async def test_concurrent_blocks_keep_their_own_times(breaker, clock):
    async def block(seconds: float, started: asyncio.Event, go_on: asyncio.Event):
        async with breaker:
            started.set()
            await go_on.wait()
            clock.advance(seconds)

    events = [(asyncio.Event(), asyncio.Event()) for _ in range(4)]
    tasks = [asyncio.create_task(block(0.01, *pair)) for pair in events]
    for started, go_on in events:
        await started.wait()
        go_on.set()
    await asyncio.gather(*tasks)
    assert breaker.state is State.CLOSED


async def test_its_state_is_shown(clock):
    telemetry = Telemetry("test")
    breaker = Breaker("search", clock, error=SearchUnavailable, thresholds=LIMITS, telemetry=telemetry)
    await fail(breaker, 4)
    assert telemetry.registry.get_sample_value("askmesh_breaker_open", {"breaker": "search"}) == 1.0


async def test_a_probe_aside_refuses_its_caller_and_closes_the_breaker(breaker, clock):
    await fail(breaker, 4)
    clock.now += 2.0
    for _ in range(3):
        with pytest.raises(SearchUnavailable):
            await breaker.call_or_probe(answer)
    while breaker.state is not State.CLOSED:  # noqa: ASYNC110  # the probe is a task of the breaker's own
        await asyncio.sleep(0)
    assert await breaker.call_or_probe(answer) == "ok"


async def test_a_probe_aside_that_fails_opens_the_breaker_again(breaker, clock):
    await fail(breaker, 4)
    clock.now += 2.0
    with pytest.raises(SearchUnavailable):
        await breaker.call_or_probe(failing(SearchUnavailable("down")))
    while breaker.state is not State.OPEN:  # noqa: ASYNC110  # the probe is a task of the breaker's own
        await asyncio.sleep(0)
