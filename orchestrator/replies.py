"""Events and answers to messages; the SSE events of the gateway have the same names."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import duration_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from orchestrator.types import (
    Answer,
    AnswerCompleted,
    AnswerDelta,
    AnswerEvent,
    AnswerStarted,
    Citation,
    CitationAdded,
    Degradation,
    RetrievalCompleted,
    Source,
)


def answer_to_wire(answer: Answer) -> pb.AskResponse:
    return pb.AskResponse(
        started=_started(answer.started),
        retrieval=_retrieval(answer.retrieval),
        text=answer.text,
        citations=[_citation(citation) for citation in answer.citations],
        completed=_completed(answer.completed),
    )


def event_to_wire(sequence: int, event: AnswerEvent) -> pb.StreamAskResponse:
    match event:
        case AnswerStarted():
            return pb.StreamAskResponse(sequence=sequence, answer_started=_started(event))
        case RetrievalCompleted():
            return pb.StreamAskResponse(sequence=sequence, retrieval_completed=_retrieval(event))
        case CitationAdded(citation):
            added = pb.CitationAdded(citation=_citation(citation))
            return pb.StreamAskResponse(sequence=sequence, citation_added=added)
        case AnswerDelta(text):
            return pb.StreamAskResponse(sequence=sequence, answer_delta=pb.AnswerDelta(text=text))
        case AnswerCompleted():
            return pb.StreamAskResponse(sequence=sequence, answer_completed=_completed(event))


def _started(event: AnswerStarted) -> pb.AnswerStarted:
    return pb.AnswerStarted(
        answer_id=event.answer_id,
        request_id=event.request_id,
        trace_id=event.trace_id,
        model=event.model,
        cache=pb.CacheResult(
            status=pb.CacheStatus.Value(f"CACHE_STATUS_{event.cache.status.value}"),
            similarity=event.cache.similarity,
            origin_answer_id=event.cache.origin_answer_id,
            age_seconds=event.cache.age_s,
        ),
    )


def _retrieval(event: RetrievalCompleted) -> pb.RetrievalCompleted:
    return pb.RetrievalCompleted(
        sources=[_source(source) for source in event.sources],
        degraded=_degraded(event.degraded),
        milliseconds=event.milliseconds,
        collection_uid=event.collection_uid,
        generation=event.generation,
    )


def _source(source: Source) -> pb.Source:
    return pb.Source(
        marker=source.marker,
        chunk_id=source.chunk_id,
        document_id=source.document_id,
        title=source.title,
        uri=source.uri,
        source=source.source,
        section=source.section,
        page=source.page,
        start_char=source.start_char,
        end_char=source.end_char,
        text=source.text,
        score=source.score,
        dense_rank=source.dense_rank,
        lexical_rank=source.lexical_rank,
    )


def _citation(citation: Citation) -> pb.Citation:
    return pb.Citation(
        marker=citation.marker,
        document_id=citation.document_id,
        title=citation.title,
        uri=citation.uri,
        source=citation.source,
        section=citation.section,
        page=citation.page,
        chunk_id=citation.chunk_id,
        quote=citation.quote,
        start_char=citation.start_char,
        end_char=citation.end_char,
    )


def _degraded(degraded: Iterable[Degradation]) -> list[pb.Degradation]:
    return [
        pb.Degradation(
            stage=lost.stage,
            reason=pb.DegradedReason.Value(f"DEGRADED_REASON_{lost.reason.value}"),
            effect=lost.effect,
            milliseconds=lost.milliseconds,
            retry_after=_duration(lost.retry_after_s),
        )
        for lost in degraded
    ]


def _duration(seconds: float) -> duration_pb2.Duration | None:
    if not seconds:
        return None
    made = duration_pb2.Duration()
    made.FromMilliseconds(round(seconds * 1_000))
    return made


def _completed(event: AnswerCompleted) -> pb.AnswerCompleted:
    usage, timings, cost = event.usage, event.timings, event.cost
    return pb.AnswerCompleted(
        finish_reason=pb.FinishReason.Value(f"FINISH_REASON_{event.finish_reason.value}"),
        usage=pb.Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            saved_tokens=usage.saved_tokens,
            is_estimate=usage.is_estimate,
        ),
        timings=pb.Timings(
            total_ms=timings.total_ms,
            queue_ms=timings.queue_ms,
            cache_ms=timings.cache_ms,
            embed_ms=timings.embed_ms,
            retrieve_ms=timings.retrieve_ms,
            first_token_ms=timings.first_token_ms,
            generate_ms=timings.generate_ms,
        ),
        cost=pb.Cost(currency=cost.currency, amount=cost.amount, saved=cost.saved),
        grounding=pb.Grounding.Value(f"GROUNDING_{event.grounding.value}"),
        cited_markers=event.cited_markers,
        degraded=_degraded(event.degraded),
        is_partial=event.is_partial,
    )
