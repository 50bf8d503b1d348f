"""What is retried, how often, how far apart, and when no more."""

from __future__ import annotations

import pytest

from chassis.budget import Budget
from chassis.errors import Conflict, DeadlineExceeded, InvalidRequest, SearchUnavailable, StorageFull
from chassis.retry import Backoff, RetryPolicy, TokenBucket
from chassis.telemetry import Telemetry


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, *failures: BaseException) -> None:
        self._failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return "ok"


class Waits:
    """A sleep that only moves the clock."""

    def __init__(self, clock) -> None:
        self._clock = clock
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._clock.advance(seconds)


def down(**kwargs) -> SearchUnavailable:
    return SearchUnavailable("down", **kwargs)


@pytest.fixture
def waits(clock):
    return Waits(clock)


@pytest.fixture
def policy(waits):
    return RetryPolicy("search", jitter=lambda: 1.0, sleep=waits)


@pytest.mark.parametrize("error", [down(), Conflict("lost")])
async def test_what_passes_is_tried_again(policy, clock, error):
    work = Flaky(error)
    assert await policy.call(work, budget=Budget.of(5.0, clock)) == "ok"
    assert work.calls == 2


@pytest.mark.parametrize("error", [InvalidRequest("bad"), StorageFull("full"), ValueError(), DeadlineExceeded("late")])
async def test_what_does_not_pass_is_not(policy, clock, error):
    work = Flaky(error)
    with pytest.raises(type(error)):
        await policy.call(work, budget=Budget.of(5.0, clock))
    assert work.calls == 1


async def test_the_last_failure_is_raised_when_attempts_are_used_up(policy, clock):
    work = Flaky(*[down()] * 9)
    with pytest.raises(SearchUnavailable):
        await policy.call(work, budget=Budget.of(5.0, clock))
    assert work.calls == Backoff().attempts


async def test_waits_double_and_are_jittered_down_from_there(policy, waits, clock):
    await policy.call(Flaky(down(), down()), budget=Budget.of(5.0, clock))
    calm = RetryPolicy("search", jitter=lambda: 0.0, sleep=waits)
    await calm.call(Flaky(down()), budget=Budget.of(5.0, clock))
    assert waits.seconds == [0.02, 0.04, 0.0]


async def test_the_other_side_s_wish_to_wait_is_kept(policy, waits, clock):
    await policy.call(Flaky(down(retry_after_s=0.3)), budget=Budget.of(5.0, clock))
    assert waits.seconds[0] >= 0.3


async def test_a_wait_the_budget_cannot_bear_is_not_begun(policy, waits, clock):
    work = Flaky(down(retry_after_s=1.0))
    with pytest.raises(SearchUnavailable):
        await policy.call(work, budget=Budget.of(0.5, clock))
    assert (work.calls, waits.seconds) == (1, [])


async def test_a_spent_budget_starts_nothing(policy, clock):
    work = Flaky()
    with pytest.raises(DeadlineExceeded):
        await policy.call(work, budget=Budget.of(0.0, clock))
    assert work.calls == 0


async def test_an_outage_costs_a_fifth_more_calls_at_most_once_the_burst_is_used_up(waits, clock):
    policy = RetryPolicy("search", bucket=TokenBucket(share=0.2, burst=5.0), jitter=lambda: 0.0, sleep=waits)
    made = 0
    for _ in range(500):
        work = Flaky(*[down()] * 9)
        with pytest.raises(SearchUnavailable):
            await policy.call(work, budget=Budget.of(5.0, clock))
        made += work.calls
    assert 600 <= made <= 500 * 1.2 + 5


async def test_retries_are_counted(waits, clock):
    telemetry = Telemetry("test")
    policy = RetryPolicy("search", telemetry=telemetry, sleep=waits)
    await policy.call(Flaky(down()), budget=Budget.of(5.0, clock))
    assert telemetry.registry.get_sample_value("askmesh_retries_total", {"policy": "search"}) == 1.0
