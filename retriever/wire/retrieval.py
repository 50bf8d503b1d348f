"""RetrieverService's messages."""

from __future__ import annotations

import math
import unicodedata
from typing import Final

from rag.retriever.v1 import retriever_pb2 as pb

from retriever.types import (
    CollectionHead,
    Degradation,
    DegradedReason,
    Legs,
    LegScore,
    Passage,
    QueryVector,
    Retrieval,
    RetrievalQuery,
)
from retriever.wire import checks
from retriever.wire.checks import Violations
from retriever.wire.values import from_scalar, to_filter

MAX_VECTOR_VALUES: Final = 4_096  # no embedder in use has more dimensions
MAX_FINGERPRINT_CHARS: Final = 256
MAX_TOKEN_CHARS: Final = 64
_LEGS: Final = {
    pb.LEGS_UNSPECIFIED: Legs.HYBRID,
    pb.LEGS_HYBRID: Legs.HYBRID,
    pb.LEGS_DENSE: Legs.DENSE,
    pb.LEGS_LEXICAL: Legs.LEXICAL,
}
_REASONS: Final = {reason: getattr(pb, f"DEGRADED_REASON_{reason.value}") for reason in DegradedReason}


def to_query(request: pb.RetrieveRequest, default_top_k: int) -> RetrievalQuery:
    """The query. Raises InvalidRequest or FilterInvalid, listing every bad field."""
    found = Violations()
    legs = _LEGS.get(request.legs)
    if legs is None:
        found.add("legs", "must be UNSPECIFIED, HYBRID, DENSE or LEXICAL")
    if not 0 <= request.top_k <= checks.MAX_TOP_K:
        found.add("top_k", f"must be 0 to {checks.MAX_TOP_K}")
    if request.min_generation < 0:
        found.add("min_generation", "must not be negative")
    query = RetrievalQuery(
        collection=checks.collection(request.collection, found),
        text=_text(request.query, found),
        top_k=request.top_k or default_top_k,
        filter=to_filter(request.filter, found),
        legs=legs or Legs.HYBRID,
        vector=_vector(request, found),
        min_generation=request.min_generation,
    )
    found.check()
    return query


def to_snapshot_request(request: pb.GetSnapshotRequest) -> tuple[str, str]:
    """The collection and the mirror's token. Raises InvalidRequest, listing every bad field."""
    found = Violations()
    collection = checks.collection(request.collection, found)
    token = checks.length(request.mirror_token, MAX_TOKEN_CHARS, "mirror_token", found)
    found.check()
    return collection, token


def _text(query: str, found: Violations) -> str:
    """Composed (NFC), as most documents are: a letter and a mark of its own would be two words, or none of theirs."""
    if not query.strip():
        found.add("query", "must hold something other than white space")
    text = checks.length(query, checks.MAX_QUERY_CHARS, "query", found)
    return min(unicodedata.normalize("NFC", text), text, key=len)  # a few signs are longer composed


def _vector(request: pb.RetrieveRequest, found: Violations) -> QueryVector | None:
    if not request.HasField("embedding"):
        return None
    given = request.embedding
    checks.length(given.fingerprint, MAX_FINGERPRINT_CHARS, "embedding.fingerprint", found)
    if len(given.values) > MAX_VECTOR_VALUES:
        found.add("embedding.values", f"must have at most {MAX_VECTOR_VALUES} values")
        return None
    if not all(map(math.isfinite, given.values)):
        found.add("embedding.values", "must be finite numbers")
    return QueryVector(given.fingerprint, tuple(given.values))


def from_retrieval(retrieval: Retrieval, retrieval_fingerprint: str) -> pb.RetrieveResponse:
    snapshot = retrieval.snapshot
    return pb.RetrieveResponse(
        passages=[_passage(passage) for passage in retrieval.passages],
        snapshot=pb.Snapshot(
            collection_uid=snapshot.uid,
            generation=snapshot.generation,
            retrieval_fingerprint=retrieval_fingerprint,
            embedder_fingerprint=retrieval.embedder_fingerprint,
        ),
        degraded=[_degradation(each) for each in retrieval.degraded],
        timings=[pb.StageTiming(stage=stage, milliseconds=ms) for stage, ms in retrieval.timings_ms.items()],
    )


def from_head(head: CollectionHead, retrieval_fingerprint: str) -> pb.Snapshot:
    return pb.Snapshot(
        collection_uid=head.snapshot.uid,
        generation=head.snapshot.generation,
        retrieval_fingerprint=retrieval_fingerprint,
        embedder_fingerprint=head.embedder_fingerprint,
    )


def _passage(passage: Passage) -> pb.Passage:
    chunk, document = passage.chunk, passage.document
    return pb.Passage(
        chunk_id=chunk.chunk_id,
        text=chunk.text,
        document_id=document.document_id,
        title=document.title,
        uri=document.uri,
        source=document.source,
        section=chunk.section,
        page=chunk.page,
        start_char=chunk.start_char,
        end_char=chunk.end_char,
        score=passage.score,
        dense=_leg_score(passage.dense),
        lexical=_leg_score(passage.lexical),
        rerank=_leg_score(passage.rerank),
        metadata={name: from_scalar(value) for name, value in document.metadata.items()},
    )


def _leg_score(score: LegScore | None) -> pb.LegScore | None:
    return None if score is None else pb.LegScore(rank=score.rank, score=score.score)


def _degradation(degradation: Degradation) -> pb.Degradation:
    return pb.Degradation(
        stage=degradation.stage,
        reason=_REASONS[degradation.reason],
        effect=degradation.effect,
        milliseconds=degradation.milliseconds,
    )
