"""The retriever behind a circuit breaker: while it is down, an ask learns so at once instead of after a timebox.

Decorates Retriever, SnapshotSource and SnapshotFiller together: one server, one breaker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from chassis.breaker import Breaker
from chassis.budget import Budget
from orchestrator.ports import Retriever, SnapshotFiller, SnapshotSource
from orchestrator.types import Filling, Question, Retrieval, Snapshot

FAIR_S = 0.1  # a caller who allows less than this says nothing about the retriever when its time runs out
MIN_CALLS = 8  # one wave of a full gate opens it: whoever waits behind that wave is told at once

Result = TypeVar("Result")


class _All(Retriever, SnapshotSource, SnapshotFiller, Protocol):
    """One object that is all three."""


class GuardedRetriever:
    """See above.

    Args:
        inner: The retriever.
        breaker: Made with error=RetrieverUnavailable and min_calls=MIN_CALLS.
    """

    def __init__(self, inner: _All, breaker: Breaker) -> None:
        self._inner = inner
        self._breaker = breaker

    async def snapshot(self, question: Question, *, budget: Budget) -> Snapshot:
        return await self._through(budget, lambda: self._inner.snapshot(question, budget=budget))

    async def fill(self, question: Question, token: str, *, budget: Budget) -> Filling:
        return await self._through(budget, lambda: self._inner.fill(question, token, budget=budget))

    async def retrieve(
        self, question: Question, vector: Sequence[float] | None, fingerprint: str, *, budget: Budget
    ) -> Retrieval:
        return await self._through(budget, lambda: self._inner.retrieve(question, vector, fingerprint, budget=budget))

    async def _through(self, budget: Budget, work: Callable[[], Awaitable[Result]]) -> Result:
        if budget.remaining_s() < FAIR_S:
            return await work()  # else a caller with tiny deadlines could shut the retriever off for everybody
        return await self._breaker.call(work)
