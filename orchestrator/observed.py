"""Counts and traces asks by looking at their events: a decorator on the pipeline and one on the generator.

Rule 1: an answer's events say everything that is measured, so nothing inside the pipeline counts.
Rule 2: tokens and cost are counted where they are made, at the generator: a cancelled ask's tokens were generated too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from opentelemetry.trace import Span

from chassis.budget import Budget
from chassis.errors import RagError
from chassis.telemetry import Telemetry
from orchestrator import metrics
from orchestrator.ports import Generator, TokenCounter
from orchestrator.pricing import price
from orchestrator.types import (
    AnswerCompleted,
    AnswerDelta,
    AnswerEvent,
    AnswerStarted,
    CacheStatus,
    DegradedReason,
    GenerationEnd,
    GenerationEvent,
    ModelInfo,
    Prompt,
    Question,
    RetrievalCompleted,
    Sampling,
    TextPiece,
    Usage,
)

_log = logging.getLogger(__name__)

_TIERS = {CacheStatus.HIT_EXACT: "exact", CacheStatus.HIT_SEMANTIC: "semantic"}
_FIRST_TOKEN = {**dict.fromkeys(_TIERS, "hit"), CacheStatus.JOINED: "joined"}
_FALLBACK_REASONS = {
    DegradedReason.MODEL_COLD,
    DegradedReason.MODEL_OVERLOADED,
    DegradedReason.MODEL_UNAVAILABLE,
}


class Asks(Protocol):
    """What answers: the pipeline, or a decorator of it."""

    def ask(
        self, question: Question, *, budget: Budget, queue_ms: float = 0.0
    ) -> AsyncGenerator[AnswerEvent, None]: ...

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> None: ...


class ObservedAsks:
    """The same asks, counted and traced."""

    def __init__(self, inner: Asks, telemetry: Telemetry) -> None:
        telemetry.declare(*metrics.METRICS)
        self._inner = inner
        self._telemetry = telemetry

    async def ask(
        self, question: Question, *, budget: Budget, queue_ms: float = 0.0
    ) -> AsyncGenerator[AnswerEvent, None]:
        outcome, has_text, cache = "internal", False, CacheStatus.MISS
        in_flight = self._telemetry.gauge(metrics.IN_FLIGHT)
        in_flight.inc()
        try:
            # Current between the events too: the flight and its calls become children of this span.
            with self._telemetry.span(metrics.SPAN_ASK, _asked(question)) as span:
                async with aclosing(self._inner.ask(question, budget=budget, queue_ms=queue_ms)) as events:
                    async for event in events:
                        if isinstance(event, AnswerStarted):
                            cache = event.cache.status
                        self._see(event, span, cache)
                        if isinstance(event, AnswerDelta) and not has_text:
                            has_text = True
                            span.add_event(metrics.EVENT_FIRST_TEXT)
                        if isinstance(event, AnswerCompleted):
                            outcome = "partial" if event.is_partial else "degraded" if event.degraded else "ok"
                        yield event
        except RagError as error:
            outcome = error.reason.lower()
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        finally:
            in_flight.dec()
            self._telemetry.counter(metrics.ASKS).labels(outcome).inc()

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> None:
        await self._inner.evict(tenant, collection, answer_id, budget=budget)

    def _log_degraded(self, end: AnswerCompleted) -> None:
        """Once per answer, by reason: never a word of it."""
        reasons = ", ".join(sorted({lost.reason.value for lost in end.degraded}))
        _log.warning("an answer was degraded", extra={"reasons": reasons, "is_partial": end.is_partial})

    def _see(self, event: AnswerEvent, span: Span, cache: CacheStatus) -> None:
        match event:
            case AnswerStarted(model=model):
                self._saw_cache(cache)
                span.set_attributes(
                    {
                        metrics.CACHE_HIT: cache in _TIERS,
                        metrics.CACHE_STATUS: cache.value,
                        metrics.MODEL_NAME: model,
                        metrics.GEN_AI_MODEL: model,
                        metrics.OLD_GEN_AI_MODEL: model,
                    }
                )
            case RetrievalCompleted(sources=sources):
                span.add_event(metrics.EVENT_PASSAGES)
                span.set_attribute(metrics.RETRIEVAL_COUNT, len(sources))
            case AnswerCompleted():
                self._saw_end(event, span, cache)
            case AnswerDelta() | _:
                return

    def _saw_cache(self, status: CacheStatus) -> None:
        self._telemetry.counter(metrics.CACHE).labels(status.value).inc()
        if status in _TIERS:
            self._telemetry.counter(metrics.CACHE_HITS).labels(_TIERS[status]).inc()
        elif status is CacheStatus.MISS:
            self._telemetry.counter(metrics.CACHE_MISSES).inc()

    def _saw_end(self, end: AnswerCompleted, span: Span, cache: CacheStatus) -> None:
        telemetry, timings = self._telemetry, end.timings
        telemetry.histogram(metrics.LATENCY).observe(timings.total_ms / 1_000)
        if timings.first_token_ms:
            label = _FIRST_TOKEN.get(cache, "miss")
            telemetry.histogram(metrics.FIRST_TOKEN).labels(label).observe(timings.first_token_ms / 1_000)
        for stage in ("cache", "embed", "retrieve", "generate"):
            if milliseconds := getattr(timings, f"{stage}_ms"):
                telemetry.histogram(metrics.STAGE).labels(stage).observe(milliseconds / 1_000)
        telemetry.counter(metrics.GROUNDING).labels(end.grounding.value).inc()
        telemetry.counter(metrics.SAVED_TOKENS).inc(end.usage.saved_tokens)
        telemetry.counter(metrics.SAVED_COST).inc(end.cost.saved)
        for lost in end.degraded:
            telemetry.counter(metrics.DEGRADED).labels(_known_stage(lost.stage), lost.reason.value).inc()
            if lost.reason in _FALLBACK_REASONS and not end.is_partial:
                telemetry.counter(metrics.FALLBACKS).labels(lost.reason.value).inc()
                span.set_attribute(metrics.FALLBACK_REASON, lost.reason.value)
        if end.degraded:
            self._log_degraded(end)
        span.set_attributes(
            {
                metrics.TTFT_MS: timings.first_token_ms,
                metrics.OLD_GEN_AI_TTFT_MS: timings.first_token_ms,
                metrics.TOKENS_TOTAL: end.usage.prompt_tokens + end.usage.completion_tokens,
                metrics.GEN_AI_INPUT_TOKENS: end.usage.prompt_tokens,
                metrics.GEN_AI_OUTPUT_TOKENS: end.usage.completion_tokens,
                metrics.OLD_GEN_AI_COMPLETION_TOKENS: end.usage.completion_tokens,
                metrics.GEN_AI_FINISH: [end.finish_reason.value],
                metrics.ANSWER_GROUNDING: end.grounding.value,
            }
        )


def _asked(question: Question) -> dict[str, str | int]:
    return {
        metrics.PROMPT_LENGTH: len(question.text),
        metrics.TOP_K: question.top_k,
        metrics.GEN_AI_OPERATION: "chat",
    }


_STAGES = frozenset({"cache", "embed", "dense", "lexical", "rerank", "catalogue", "retrieve", "generate"})


def _known_stage(stage: str) -> str:
    """A stage as a label: the retriever's word for it comes over the wire, and labels are closed sets."""
    return stage if stage in _STAGES else "other"


class MeteredGenerator:
    """The same generator; tokens and cost counted whatever becomes of the ask."""

    def __init__(self, inner: Generator, counter: TokenCounter, telemetry: Telemetry) -> None:
        telemetry.declare(*metrics.METRICS)
        self._inner = inner
        self._counter = counter
        self._telemetry = telemetry
        # There from the start, at 0: the first ask is an increase of 1 then, and wakes a model that sleeps.
        self._wanted = telemetry.counter(metrics.WANTED).labels(inner.model.name)
        telemetry.gauge(metrics.GENERATIONS).labels(inner.model.name)

    @property
    def model(self) -> ModelInfo:
        return self._inner.model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, budget: Budget
    ) -> AsyncGenerator[GenerationEvent, None]:
        running = self._telemetry.gauge(metrics.GENERATIONS).labels(self.model.name)
        said: list[str] = []
        end: GenerationEnd | None = None
        self._wanted.inc()
        running.inc()
        try:
            async with aclosing(self._inner.generate(prompt, sampling, budget=budget)) as events:
                async for event in events:
                    match event:
                        case TextPiece(text):
                            said.append(text)
                        case GenerationEnd():
                            end = event
                    yield event
        finally:
            running.dec()
            if said or end is not None:
                self._count(prompt, said, end)

    def _count(self, prompt: Prompt, said: list[str], end: GenerationEnd | None) -> None:
        prompt_tokens = end.prompt_tokens if end is not None else None
        completion_tokens = end.completion_tokens if end is not None else None
        usage = Usage(
            prompt.prompt_tokens if prompt_tokens is None else prompt_tokens,
            self._counter.count("".join(said)) if completion_tokens is None else completion_tokens,
        )
        name = self.model.name
        self._telemetry.counter(metrics.TOKENS).labels(name).inc(usage.completion_tokens)
        self._telemetry.counter(metrics.PROMPT_TOKENS).labels(name).inc(usage.prompt_tokens)
        self._telemetry.counter(metrics.COST).labels(name).inc(price(self.model, usage))
