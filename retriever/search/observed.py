"""Around a search leg: a breaker that stops asking one that fails, and numbers. The adapters know of neither.

The leg is given a little less time than there is, so that its being late ends here, as a failure the breaker counts,
and not as a cancellation from above, which says nothing about the leg.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from chassis.breaker import Breaker
from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, RagError
from chassis.telemetry import Telemetry
from embedding.ports import FloatArray
from retriever import metrics
from retriever.ports import DenseLeg, LexicalLeg
from retriever.types import Hit, Scope

LEG_SHARE: Final = 0.95  # of the time left: 12 ms of a 250 ms timebox, more than a busy machine keeps the loop waiting


class _Observation:
    def __init__(self, leg: str, breaker: Breaker, telemetry: Telemetry) -> None:
        self._leg = leg
        self._breaker = breaker
        self._seconds = telemetry.histogram(metrics.LEG_SECONDS)

    async def around(self, search: Callable[[Budget], Awaitable[list[Hit]]], budget: Budget) -> list[Hit]:
        inner = budget.within(budget.remaining_s() * LEG_SHARE)
        with self._timed():
            async with self._breaker:
                try:
                    async with asyncio.timeout(inner.remaining_s()):
                        return await search(inner)
                except TimeoutError as exc:
                    raise DeadlineExceeded(f"{self._leg} search: no answer in time") from exc

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
            self._seconds.labels(self._leg, outcome).observe(time.perf_counter() - started)


class ObservedDenseLeg:
    """A DenseLeg with a breaker and numbers."""

    def __init__(self, inner: DenseLeg, breaker: Breaker, telemetry: Telemetry) -> None:
        self._inner = inner
        self._observation = _Observation("dense", breaker, telemetry)

    async def search(self, vector: FloatArray, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        return await self._observation.around(
            lambda inner: self._inner.search(vector, scope, limit, budget=inner), budget
        )


class ObservedLexicalLeg:
    """A LexicalLeg with a breaker and numbers."""

    def __init__(self, inner: LexicalLeg, breaker: Breaker, telemetry: Telemetry) -> None:
        self._inner = inner
        self._observation = _Observation("lexical", breaker, telemetry)

    async def search(self, text: str, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        return await self._observation.around(
            lambda inner: self._inner.search(text, scope, limit, budget=inner), budget
        )
