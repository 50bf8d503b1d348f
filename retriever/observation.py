"""Around what a retrieval asks and can do without: a breaker that stops asking one that fails, and numbers.

It is given a little less time than there is, so that its being late ends here, as a failure the breaker counts, and not
as a cancellation from above, which says nothing about it. The lateness of a call that had next to no time says nothing
either: callers with tiny deadlines, or a slow embedder, would shut a healthy store off for everybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from chassis.breaker import Breaker
from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, RagError
from chassis.telemetry import Metric, Telemetry

T = TypeVar("T")

FAIR_S: Final = 0.1  # a call that begins with less than this is not the store's to answer for; stores take 5 to 30 ms
SHARE: Final = 0.95  # of the time left: 12 ms of a 250 ms timebox, more than a busy machine keeps the loop waiting


class Observation:
    """Of one dependency.

    Args:
        stage: Its name in messages.
        seconds: A histogram whose last label is the outcome.
        labels: The others' values.
    """

    def __init__(
        self, stage: str, breaker: Breaker, telemetry: Telemetry, *, seconds: Metric, labels: tuple[str, ...] = ()
    ) -> None:
        self._stage = stage
        self._breaker = breaker
        self._seconds = telemetry.histogram(seconds)
        self._labels = labels

    async def around(self, ask: Callable[[Budget], Awaitable[T]], budget: Budget) -> T:
        """What `ask` returns in its share of the budget. Raises the same, the breaker's error and DeadlineExceeded."""
        inner = budget.within(budget.remaining_s() * SHARE)
        with self._timed():
            async with self._breaker.guard(judges_lateness=budget.remaining_s() >= FAIR_S):
                try:
                    async with asyncio.timeout(inner.remaining_s()):
                        return await ask(inner)
                except TimeoutError as exc:
                    raise DeadlineExceeded(f"{self._stage}: no answer in time") from exc

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except RagError as error:
            outcome = error.reason
            raise
        finally:
            self._seconds.labels(*self._labels, outcome).observe(time.perf_counter() - started)
