"""Around a reranker: a breaker and numbers, see retriever.observation. One that is always late soon costs no time."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.breaker import Breaker
from chassis.budget import Budget
from chassis.telemetry import Telemetry
from retriever import metrics
from retriever.observation import Observation
from retriever.ports import Reranker
from retriever.types import Passage


class ObservedReranker:
    """A Reranker with a breaker and numbers."""

    def __init__(self, inner: Reranker, breaker: Breaker, telemetry: Telemetry) -> None:
        self._inner = inner
        self._observation = Observation("rerank", breaker, telemetry, seconds=metrics.RERANK_SECONDS)

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    async def rerank(self, query: str, passages: Sequence[Passage], *, budget: Budget) -> list[Passage]:
        return await self._observation.around(lambda inner: self._inner.rerank(query, passages, budget=inner), budget)
