"""Who may start now: a bounded queue that sheds early, so that what is admitted still ends in time.

Rule 1: a call that cannot end within its deadline is refused before it waits, not after: work for a caller who has gone
        is the one thing an overloaded server cannot afford.
Rule 2: a queue is for bursts. Once it has not been empty for an interval, its calls may wait only for a short target
        (controlled delay): a standing queue adds latency and no throughput.
Rule 3: shedding happens before any work was done, says when to retry, and is counted.
Rule 4: time is the caller's Budget's; nothing here reads another clock.

Long-lived streams (ingest) get a pool of their own, else 64 of them would lock every question out.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import Overloaded

CONTROL_INTERVAL_S: Final = 0.1  # Nichols and Jacobson 2012: one worst-case round trip; a burst is over by then
TARGET_WAIT_S: Final = 0.01  # the same paper's 5 % of the interval, rounded up to what an event loop can hold to
MAX_WAIT_S: Final = 2.0  # a person waits longer for a first word only when told so
SMOOTHING: Final = 0.1  # weight of the newest call in the mean duration
MIN_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A pool of places.

    Attributes:
        concurrency: Calls worked on at the same time.
        queue: Calls that may wait.
        max_wait_s: The longest wait, whatever the deadline.
    """

    concurrency: int
    queue: int
    max_wait_s: float = MAX_WAIT_S


class Admission:
    """Pools of places: one for all methods, and one for each method that needs its own.

    Args:
        limit: For every method not in `methods`.
        methods: Full method names ("/rag.retriever.v1.DocumentService/IngestDocuments") with a pool of their own.
        clock: Monotonic seconds.
    """

    def __init__(
        self, limit: Limit, *, methods: Mapping[str, Limit] | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._default = Pool(limit, clock)
        self._pools = {method: Pool(own, clock) for method, own in (methods or {}).items()}

    def pool_of(self, method: str) -> Pool:
        """The pool a method's calls wait in."""
        return self._pools.get(method, self._default)

    @asynccontextmanager
    async def place(self, method: str, budget: Budget) -> AsyncIterator[None]:
        """Hold a place for one call. Raises Overloaded, without having waited in vain."""
        pool = self.pool_of(method)
        await pool.enter(budget)
        started = pool.clock()
        try:
            yield
        finally:
            pool.leave(pool.clock() - started)

    @property
    def in_flight(self) -> int:
        """Calls being worked on, in all pools."""
        return self._default.in_flight + sum(pool.in_flight for pool in self._pools.values())

    @property
    def waiting(self) -> int:
        """Calls waiting for a place, in all pools."""
        return self._default.waiting + sum(pool.waiting for pool in self._pools.values())


class Pool:
    """One queue and its places; see the rules above."""

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self.clock = clock
        self.in_flight = 0
        self._limit = limit
        self._queue: deque[tuple[asyncio.Future[None], Budget]] = deque()
        self._mean_s = 0.0
        self._stands_since = clock()  # when the first of those who wait came; of no meaning while nobody does

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def enter(self, budget: Budget) -> None:
        """Take a place, waiting for one if that can still end well."""
        if self.in_flight < self._limit.concurrency and not self._queue:
            self.in_flight += 1
            return
        self._refuse_if_hopeless(budget)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (turn, budget)
        if not self._queue:
            self._stands_since = self.clock()
        self._queue.append(entry)
        try:
            async with asyncio.timeout(self._patience_s(budget)):
                await turn
        except TimeoutError:
            self._withdraw(entry)
            raise self._overloaded() from None
        except asyncio.CancelledError:
            self._withdraw(entry)
            raise

    def leave(self, took_s: float) -> None:
        """Give a place back and hand it to the first waiter who can still make it."""
        self.in_flight -= 1
        self._mean_s = took_s if self._mean_s == 0.0 else self._mean_s + SMOOTHING * (took_s - self._mean_s)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._queue and self.in_flight < self._limit.concurrency:
            turn, budget = self._queue.popleft()
            if turn.done():
                continue
            if budget.remaining_s() <= self._mean_s:
                turn.set_exception(self._overloaded())
                continue
            self.in_flight += 1
            turn.set_result(None)

    def _withdraw(self, entry: tuple[asyncio.Future[None], Budget]) -> None:
        """Leave the queue; a place that was handed over in the same moment goes on to the next."""
        turn, _ = entry
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.in_flight -= 1
            self._hand_over()
            return
        if entry in self._queue:
            self._queue.remove(entry)

    def _refuse_if_hopeless(self, budget: Budget) -> None:
        if len(self._queue) >= self._limit.queue or budget.remaining_s() <= self._expected_wait_s() + self._mean_s:
            raise self._overloaded()

    def _patience_s(self, budget: Budget) -> float:
        is_standing = self.clock() - self._stands_since > CONTROL_INTERVAL_S
        longest = max(TARGET_WAIT_S, self._mean_s / self._limit.concurrency) if is_standing else self._limit.max_wait_s
        return max(0.0, min(longest, budget.remaining_s() - self._mean_s))

    def _expected_wait_s(self) -> float:
        return (len(self._queue) + 1) * self._mean_s / self._limit.concurrency

    def _overloaded(self) -> Overloaded:
        after_s = min(MAX_RETRY_S, max(MIN_RETRY_S, self._expected_wait_s()))
        return Overloaded("too many calls at once; retry after the delay given", retry_after_s=after_s)
