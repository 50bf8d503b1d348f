"""Answers to script: the contract's own messages, so that the page is tested against what the gateway really sends."""

from __future__ import annotations

from collections.abc import Sequence

from rag.orchestrator.v1 import orchestrator_pb2 as pb

DOCUMENT_ID = "caching.md"
BEFORE = "# Caching 🗄\n\nA cached answer holds the snapshot it was made at. "
QUOTE = "A hit needs that snapshot to be the current one, so a write makes every older entry miss."
AFTER = " No time-to-live is relied on."
TEXT = BEFORE + QUOTE + AFTER
OTHER_QUOTE = "No time-to-live is relied on."


def started(status: str = "MISS", similarity: float = 0.0, age_seconds: float = 0.0) -> pb.StreamAskResponse:
    cache = pb.CacheResult(
        status=pb.CacheStatus.Value(f"CACHE_STATUS_{status}"), similarity=similarity, age_seconds=age_seconds
    )
    return pb.StreamAskResponse(
        answer_started=pb.AnswerStarted(answer_id="answer-1", request_id="request-1", model="extractive", cache=cache)
    )


def source(marker: int = 1, **fields: object) -> pb.Source:
    known: dict[str, object] = {
        "marker": marker,
        "chunk_id": f"chunk-{marker}",
        "document_id": DOCUMENT_ID,
        "title": "The answer cache",
        "uri": "https://example.org/caching",
        "source": "docs",
        "section": "Caching > Why a hit is never stale",
        "start_char": 0,
        "end_char": len(TEXT),
        "text": TEXT,
        "score": 0.9,
        "dense_rank": marker,
        "lexical_rank": marker,
    }
    return pb.Source(**{**known, **fields})  # type: ignore[arg-type]  # the table above holds each field's own type


def retrieved(*sources: pb.Source, degraded: Sequence[pb.Degradation] = ()) -> pb.StreamAskResponse:
    return pb.StreamAskResponse(
        retrieval_completed=pb.RetrievalCompleted(
            sources=sources or [source()], degraded=degraded, milliseconds=12.5, collection_uid="uid", generation=3
        )
    )


def cited(of: pb.Source | None = None, quote: str = QUOTE) -> pb.StreamAskResponse:
    chosen = of or source()
    start = chosen.start_char + chosen.text.index(quote)
    shared = {
        name: getattr(chosen, name)
        for name in ("marker", "document_id", "title", "uri", "source", "section", "page", "chunk_id")
    }
    return pb.StreamAskResponse(
        citation_added=pb.CitationAdded(
            citation=pb.Citation(**shared, quote=quote, start_char=start, end_char=start + len(quote))
        )
    )


def delta(text: str) -> pb.StreamAskResponse:
    return pb.StreamAskResponse(answer_delta=pb.AnswerDelta(text=text))


def degradation(
    reason: str, stage: str, effect: str = "", milliseconds: float = 0.0, *, retry_after_s: int = 0
) -> pb.Degradation:
    value = pb.DegradedReason.Value(f"DEGRADED_REASON_{reason}")
    made = pb.Degradation(stage=stage, reason=value, effect=effect, milliseconds=milliseconds)
    if retry_after_s:
        made.retry_after.FromSeconds(retry_after_s)
    return made


def completed(
    *,
    finish: str = "STOP",
    grounding: str = "SUPPORTED",
    markers: Sequence[int] = (1,),
    degraded: Sequence[pb.Degradation] = (),
    is_partial: bool = False,
    total_ms: float = 120.0,
) -> pb.StreamAskResponse:
    return pb.StreamAskResponse(
        answer_completed=pb.AnswerCompleted(
            finish_reason=pb.FinishReason.Value(f"FINISH_REASON_{finish}"),
            usage=pb.Usage(prompt_tokens=1420, completion_tokens=58, is_estimate=True),
            timings=pb.Timings(
                total_ms=total_ms, cache_ms=1.2, embed_ms=2.1, retrieve_ms=12.5, first_token_ms=41.0, generate_ms=79.0
            ),
            cost=pb.Cost(currency="USD", amount=0.00042),
            grounding=pb.Grounding.Value(f"GROUNDING_{grounding}"),
            cited_markers=markers,
            degraded=degraded,
            is_partial=is_partial,
        )
    )


def two_quotes() -> list[pb.StreamAskResponse]:
    """Two sentences that cite one passage for different words of it."""
    return [
        started(),
        retrieved(source(), other_source()),
        delta("A write makes every older entry miss"),
        cited(),
        delta(" [1]. And no time-to-live is relied on"),
        cited(quote=OTHER_QUOTE),
        delta(" [1]."),
        completed(),
    ]


def other_source() -> pb.Source:
    return source(
        2, document_id="consistency.md", title="Consistency", uri="consistency.md", section="Snapshots", page=4
    )


def whole_answer(text: str = "A hit needs the snapshot to be the current one [1].") -> list[pb.StreamAskResponse]:
    return [started(), retrieved(source(), other_source()), cited(), delta(text), completed()]
