"""Around a search leg: a breaker and numbers, see retriever.observation. The adapters know of neither."""

from __future__ import annotations

from chassis.breaker import Breaker
from chassis.budget import Budget
from chassis.telemetry import Telemetry
from embedding.ports import FloatArray
from retriever import metrics
from retriever.observation import Observation
from retriever.ports import DenseLeg, LexicalLeg
from retriever.types import Hit, Scope


def _observation(leg: str, breaker: Breaker, telemetry: Telemetry) -> Observation:
    return Observation(f"{leg} search", breaker, telemetry, seconds=metrics.LEG_SECONDS, labels=(leg,))


class ObservedDenseLeg:
    """A DenseLeg with a breaker and numbers."""

    def __init__(self, inner: DenseLeg, breaker: Breaker, telemetry: Telemetry) -> None:
        self._inner = inner
        self._observation = _observation("dense", breaker, telemetry)

    async def search(self, vector: FloatArray, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        return await self._observation.around(
            lambda inner: self._inner.search(vector, scope, limit, budget=inner), budget
        )


class ObservedLexicalLeg:
    """A LexicalLeg with a breaker and numbers."""

    def __init__(self, inner: LexicalLeg, breaker: Breaker, telemetry: Telemetry) -> None:
        self._inner = inner
        self._observation = _observation("lexical", breaker, telemetry)

    async def search(self, text: str, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        return await self._observation.around(
            lambda inner: self._inner.search(text, scope, limit, budget=inner), budget
        )
