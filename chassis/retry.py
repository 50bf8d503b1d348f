"""Retries of calls to stores and models, where nobody else retries them (design.md section 7).

Rule 1: one owner per hop. Never wrap a stub that the mesh retries.
Rule 2: retries are a share of the calls, not a multiple: each first attempt earns a fifth of a token, each retry costs
        one. A dependency that is down then sees at most 20 % more load, not three times as much.
Rule 3: full jitter, so that callers who failed together do not come back together.
Rule 4: inside the Budget: a wait that would leave no time for the attempt after it is not begun.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from chassis import metrics
from chassis.budget import Budget
from chassis.errors import BackendUnavailable, Conflict, StorageFull
from chassis.telemetry import Telemetry

T = TypeVar("T")

RETRY_SHARE: Final = 0.2  # design.md section 7
BURST: Final = 10.0  # tokens held at most: a short outage may be bridged by this many retries at once


class TokenBucket:
    """What limits retries to a share of the calls. One per dependency, shared by its policies."""

    def __init__(self, *, share: float = RETRY_SHARE, burst: float = BURST) -> None:
        self._share = share
        self._burst = burst
        self._tokens = burst

    @property
    def tokens(self) -> float:
        return self._tokens

    def earn(self) -> None:
        """A first attempt was made."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def spend(self) -> bool:
        """Pay for a retry; False when there is nothing to pay with."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how far apart.

    Attributes:
        attempts: The first one included.
        base_s: The first wait is up to this long, each next one up to twice the one before.
        cap_s: No wait is longer.
        least_s: Time an attempt needs to have a chance.
    """

    attempts: int = 3
    base_s: float = 0.02  # a store's failover or a dropped connection is over within a few of these
    cap_s: float = 0.5
    least_s: float = 0.005


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later: a full disk will not empty itself."""
    return isinstance(error, BackendUnavailable | Conflict) and not isinstance(error, StorageFull)


class RetryPolicy:
    """Retries one dependency's calls.

    Args:
        name: Label of its counter.
        backoff: How often and how far apart.
        bucket: Shared with other policies of the same dependency.
        telemetry: Counts retries; None counts none.
        is_worth: Which failures may pass.
        jitter: A number in [0, 1).
        sleep: Waits.
    """

    def __init__(
        self,
        name: str,
        *,
        backoff: Backoff | None = None,
        bucket: TokenBucket | None = None,
        telemetry: Telemetry | None = None,
        is_worth: Callable[[BaseException], bool] = is_worth_retrying,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._bucket = bucket or TokenBucket()
        self._counter = telemetry.counter(metrics.RETRIES).labels(name) if telemetry is not None else None
        self._is_worth = is_worth
        self._jitter = jitter
        self._sleep = sleep

    async def call(self, work: Callable[[], Awaitable[T]], *, budget: Budget) -> T:
        """Run `work`, again when it fails with something that passes, until it succeeds or it is no use.

        Raises:
            What the last attempt raised.
        """
        budget.check("retry")
        self._bucket.earn()
        attempts = AsyncRetrying(
            retry=retry_if_exception(self._is_worth),
            stop=lambda state: not self._may_go_on(state, budget),
            wait=self._wait_s,
            sleep=self._sleep,
            reraise=True,
        )
        return await attempts(work)

    def _wait_s(self, state: RetryCallState) -> float:
        """Full jitter: anything up to the doubled base; but never sooner than the other side asked for."""
        doubled_s = self._backoff.base_s * float(2 ** (state.attempt_number - 1))
        return _asked_for_s(state) + self._jitter() * min(self._backoff.cap_s, doubled_s)

    def _may_go_on(self, state: RetryCallState, budget: Budget) -> bool:
        if state.attempt_number >= self._backoff.attempts:
            return False
        if state.upcoming_sleep + self._backoff.least_s > budget.remaining_s():
            return False
        is_paid = self._bucket.spend()
        if is_paid and self._counter is not None:
            self._counter.inc()
        return is_paid


def _asked_for_s(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome is not None else None
    asked = failure.retry_after_s if isinstance(failure, BackendUnavailable) else None
    return asked or 0.0
