"""Numbers and spans around the pipeline and the writer, so that neither holds a line of telemetry."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from opentelemetry.trace import Span

from chassis.budget import Budget
from chassis.errors import RagError
from chassis.identity import Identity
from chassis.telemetry import Telemetry
from retriever import metrics
from retriever.documents import DocumentSource
from retriever.ingest.uploads import Upload
from retriever.types import And, Filter, Not, Or, Outcome, PutResult, Retrieval, RetrievalQuery

FAILED: Final = "FAILED"

_log = logging.getLogger(__name__)


class Retrieves(Protocol):
    """retriever.pipeline.RetrievalPipeline, and what stands around it."""

    @property
    def fingerprint(self) -> str: ...

    async def retrieve(self, identity: Identity, query: RetrievalQuery, budget: Budget) -> Retrieval: ...


class Writes(Protocol):
    """retriever.ingest.documents.DocumentWriter, and what stands around it."""

    async def put(self, identity: Identity, collection: str, source: DocumentSource, budget: Budget) -> PutResult: ...

    async def put_upload(self, identity: Identity, collection: str, upload: Upload, budget: Budget) -> PutResult: ...

    async def delete(self, identity: Identity, collection: str, document_id: str, budget: Budget) -> int: ...

    async def drop_collection(self, identity: Identity, collection: str, budget: Budget) -> None: ...


class ObservedRetrieval:
    """Counts what `inner` retrieves, and leaves one span with the stages as events."""

    def __init__(self, inner: Retrieves, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    async def retrieve(self, identity: Identity, query: RetrievalQuery, budget: Budget) -> Retrieval:
        attributes = {metrics.TOP_K: query.top_k, metrics.FILTERS: conditions(query.filter)}
        with self._telemetry.span(metrics.SPAN_RETRIEVE, attributes) as span:
            try:
                retrieval = await self._inner.retrieve(identity, query, budget)
            except RagError as error:
                span.set_attribute(metrics.FALLBACK_REASON, error.reason)
                self._telemetry.counter(metrics.RETRIEVALS).labels("none").inc()
                raise
            self._count(retrieval)
            _describe(span, retrieval)
        if retrieval.rejected_hits:
            _log.error("a store returned hits its scope excludes", extra={"hits": retrieval.rejected_hits})
        return retrieval

    def _count(self, retrieval: Retrieval) -> None:
        telemetry = self._telemetry
        telemetry.counter(metrics.RETRIEVALS).labels(source_of(retrieval)).inc()
        telemetry.counter(metrics.REJECTED_HITS).inc(retrieval.rejected_hits)
        telemetry.histogram(metrics.PASSAGES).observe(len(retrieval.passages))
        for stage, milliseconds in retrieval.timings_ms.items():
            if stage == "total":
                telemetry.histogram(metrics.LATENCY).observe(milliseconds / 1e3)
            else:
                telemetry.histogram(metrics.STAGE_SECONDS).labels(stage).observe(milliseconds / 1e3)
        for each in retrieval.degraded:
            telemetry.counter(metrics.FALLBACK).labels(each.reason.value).inc()


class ObservedWriter:
    """Counts what `inner` writes, and leaves one span per document."""

    def __init__(self, inner: Writes, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry

    async def put(self, identity: Identity, collection: str, source: DocumentSource, budget: Budget) -> PutResult:
        return await self.put_upload(identity, collection, Upload(0, source), budget)

    async def put_upload(self, identity: Identity, collection: str, upload: Upload, budget: Budget) -> PutResult:
        started = time.perf_counter()
        with self._telemetry.span(metrics.SPAN_INGEST) as span, self._failures(span, started):
            result = await self._inner.put_upload(identity, collection, upload, budget)
            self._ended(span, result.outcome.value, started)
        if result.outcome is Outcome.STORED:
            self._telemetry.counter(metrics.INGEST_BYTES).inc(result.record.size_bytes)
            self._telemetry.counter(metrics.INGEST_CHUNKS).inc(result.record.chunk_count)
        return result

    async def delete(self, identity: Identity, collection: str, document_id: str, budget: Budget) -> int:
        generation = await self._inner.delete(identity, collection, document_id, budget)
        self._telemetry.counter(metrics.DELETED).inc()
        return generation

    async def drop_collection(self, identity: Identity, collection: str, budget: Budget) -> None:
        await self._inner.drop_collection(identity, collection, budget)

    @contextmanager
    def _failures(self, span: Span, started: float) -> Iterator[None]:
        try:
            yield
        except RagError as error:
            span.set_attribute(metrics.FALLBACK_REASON, error.reason)
            self._ended(span, FAILED, started)
            raise

    def _ended(self, span: Span, outcome: str, started: float) -> None:
        span.set_attribute(metrics.OUTCOME, outcome)
        self._telemetry.counter(metrics.INGESTED).labels(outcome).inc()
        self._telemetry.histogram(metrics.INGEST_SECONDS).labels(outcome).observe(time.perf_counter() - started)


def source_of(retrieval: Retrieval) -> str:
    """What answered: the original's `retrievalMethod`, and true."""
    answered = {"dense", "lexical"} & set(retrieval.timings_ms) - {each.stage for each in retrieval.degraded}
    if len(answered) == 2:
        return "hybrid"
    return answered.pop() if answered else "none"


def conditions(filter: Filter) -> int:
    """How many comparisons a filter holds."""
    match filter:
        case And(parts) | Or(parts):
            return sum(map(conditions, parts))
        case Not(part):
            return conditions(part)
        case _:
            return 1


def _describe(span: Span, retrieval: Retrieval) -> None:
    if not span.is_recording():
        return
    span.set_attribute(metrics.RETRIEVAL_COUNT, len(retrieval.passages))
    span.set_attribute(metrics.RETRIEVAL_SOURCE, source_of(retrieval))
    span.set_attribute(metrics.GENERATION, retrieval.snapshot.generation)
    ids = list(dict.fromkeys(passage.document.document_id for passage in retrieval.passages))
    span.set_attribute(metrics.DOCS_IDS, ids[: metrics.MAX_DOCS_IDS])
    if retrieval.degraded:
        span.set_attribute(metrics.FALLBACK_REASON, ",".join(each.reason.value for each in retrieval.degraded))
    for stage, milliseconds in retrieval.timings_ms.items():
        span.add_event(stage, {"ms": round(milliseconds, 3)})
