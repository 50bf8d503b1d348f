"""Traces and counts retrievals. Decorates the hedged Retriever, so one retrieval is one span however it is tried."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.budget import Budget
from chassis.telemetry import Telemetry
from orchestrator import metrics
from orchestrator.ports import Retriever
from orchestrator.retrieval.hedged import HedgedRetriever
from orchestrator.types import Question, Retrieval


class ObservedRetriever:
    """The same retriever under the original's span; the calls it makes are the span's children."""

    def __init__(self, inner: HedgedRetriever, telemetry: Telemetry) -> None:
        telemetry.declare(*metrics.METRICS)
        self._inner: Retriever = inner
        self._hedging = inner
        self._telemetry = telemetry

    async def retrieve(
        self, question: Question, vector: Sequence[float] | None, fingerprint: str, *, budget: Budget
    ) -> Retrieval:
        hedged = self._hedging.hedged
        with self._telemetry.span(metrics.SPAN_RETRIEVE, {metrics.TOP_K: question.top_k}) as span:
            try:
                retrieval = await self._inner.retrieve(question, vector, fingerprint, budget=budget)
            finally:
                self._telemetry.counter(metrics.HEDGED).inc(self._hedging.hedged - hedged)
            span.set_attribute(metrics.RETRIEVAL_COUNT, len(retrieval.sources))
            for lost in retrieval.degraded:
                span.set_attribute(metrics.FALLBACK_REASON, lost.reason.value)
            return retrieval
