"""Traces retrievals. Decorates the hedged Retriever, so one retrieval is one span however it is tried."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.budget import Budget
from chassis.telemetry import Telemetry
from orchestrator import metrics
from orchestrator.ports import Retriever
from orchestrator.types import Question, Retrieval


class ObservedRetriever:
    """The same retriever under the original's span; the calls it makes are the span's children."""

    def __init__(self, inner: Retriever, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry

    async def retrieve(
        self, question: Question, vector: Sequence[float] | None, fingerprint: str, *, budget: Budget
    ) -> Retrieval:
        with self._telemetry.span(metrics.SPAN_RETRIEVE, {metrics.TOP_K: question.top_k}) as span:
            retrieval = await self._inner.retrieve(question, vector, fingerprint, budget=budget)
            span.set_attribute(metrics.RETRIEVAL_COUNT, len(retrieval.sources))
            for lost in retrieval.degraded:
                span.set_attribute(metrics.FALLBACK_REASON, lost.reason.value)
            return retrieval
