"""The retriever over gRPC: passages and snapshots.

Every call carries the time its budget leaves. Does not: retry (the mesh does, once, within the timebox), hedge
(orchestrator.retrieval.hedged does), or check currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import grpc
from rag.retriever.v1 import filter_pb2
from rag.retriever.v1 import retriever_pb2 as pb
from rag.retriever.v1 import retriever_pb2_grpc as rpc

from chassis.budget import Budget
from chassis.errors import Cancelled, InternalError, RagError, RetrieverUnavailable, ShuttingDown
from chassis.status import from_rpc_error
from orchestrator.types import (
    And,
    Comparison,
    Degradation,
    DegradedReason,
    Filling,
    Filter,
    Not,
    Or,
    Question,
    Retrieval,
    Scalar,
    Snapshot,
    Source,
)

HEDGE_HEADER: Final = ("x-askmesh-hedge", "1")  # the mesh routes these with 0 retries (design.md section 7)
RETRY_AFTER_S = 1.0
_DEGRADED: Final = pb.DESCRIPTOR.enum_types_by_name["DegradedReason"]


class GrpcRetriever:
    """Retriever and SnapshotSource of the deployed system and of the embedded one alike.

    Args:
        channel: Of chassis.channel: it relays identity, request id, variant and trace.
        is_hedge: Calls are second attempts of one that is still under way.
    """

    def __init__(self, channel: grpc.aio.Channel, *, is_hedge: bool = False) -> None:
        self._stub = rpc.RetrieverServiceStub(channel)
        self._metadata = (HEDGE_HEADER,) if is_hedge else ()

    async def snapshot(self, question: Question, *, budget: Budget) -> Snapshot:
        return (await self.fill(question, "", budget=budget)).snapshot

    async def fill(self, question: Question, token: str, *, budget: Budget) -> Filling:
        budget.check("snapshot")
        request = pb.GetSnapshotRequest(collection=question.collection, mirror_token=token)
        try:
            reply = await self._stub.GetSnapshot(request, timeout=budget.remaining_s(), metadata=self._metadata)
        except grpc.RpcError as exc:
            raise _translated(exc) from exc
        return Filling(snapshot_from_wire(reply), reply.mirrored)

    async def retrieve(
        self, question: Question, vector: Sequence[float] | None, fingerprint: str, *, budget: Budget
    ) -> Retrieval:
        budget.check("retrieve")
        request = pb.RetrieveRequest(
            collection=question.collection,
            query=question.text,
            top_k=question.top_k,
            filter=filter_to_wire(question.filter),
            legs=pb.LEGS_HYBRID,
        )
        if vector is not None:
            request.embedding.fingerprint = fingerprint
            request.embedding.values.extend(vector)
        try:
            reply = await self._stub.Retrieve(request, timeout=budget.remaining_s(), metadata=self._metadata)
        except grpc.RpcError as exc:
            raise _translated(exc) from exc
        return Retrieval(
            sources=tuple(_source(marker, passage) for marker, passage in enumerate(reply.passages, start=1)),
            snapshot=snapshot_from_wire(reply.snapshot),
            degraded=tuple(_degradation(lost) for lost in reply.degraded),
        )


def _translated(exc: grpc.RpcError) -> RagError:
    """What the failure means here: trouble of the retriever's own is RetrieverUnavailable, whatever it was called."""
    error = from_rpc_error(exc, RetrieverUnavailable)
    if isinstance(error, InternalError | Cancelled | ShuttingDown):
        return RetrieverUnavailable("the retriever does not answer: try again", retry_after_s=RETRY_AFTER_S)
    return error


def snapshot_from_wire(reply: pb.Snapshot) -> Snapshot:
    """Of a reply, or of the mirror, which holds replies."""
    return Snapshot(
        collection_uid=reply.collection_uid,
        generation=reply.generation,
        retrieval_fingerprint=reply.retrieval_fingerprint,
        embedder_fingerprint=reply.embedder_fingerprint,
    )


def _source(marker: int, passage: pb.Passage) -> Source:
    return Source(
        marker=marker,
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        title=passage.title,
        uri=passage.uri,
        source=passage.source,
        section=passage.section,
        page=passage.page,
        start_char=passage.start_char,
        end_char=passage.end_char,
        text=passage.text,
        score=passage.score,
        dense_rank=passage.dense.rank,
        lexical_rank=passage.lexical.rank,
        dense_score=passage.dense.score if passage.HasField("dense") else None,
        lexical_score=passage.lexical.score if passage.HasField("lexical") else None,
    )


def _degradation(lost: pb.Degradation) -> Degradation:
    return Degradation(lost.stage, _reason(lost.reason), lost.effect, lost.milliseconds)


def _reason(value: int) -> DegradedReason:
    """The reason by name; one this version does not know still makes the answer degraded, so that it is not cached."""
    found = _DEGRADED.values_by_number.get(value)
    name = found.name.removeprefix("DEGRADED_REASON_") if found is not None else ""
    return DegradedReason.__members__.get(name, DegradedReason.RETRIEVER_UNAVAILABLE)


def filter_to_wire(filter: Filter) -> filter_pb2.Filter:
    """The retriever's filter message for a filter of ours."""
    match filter:
        case And(parts):
            made = filter_pb2.Filter()
            getattr(made, "and").filters.extend(map(filter_to_wire, parts))  # a keyword in Python
            if not parts:
                getattr(made, "and").SetInParent()
            return made
        case Or(parts):
            made = filter_pb2.Filter()
            getattr(made, "or").filters.extend(map(filter_to_wire, parts))
            if not parts:
                getattr(made, "or").SetInParent()
            return made
        case Not(part):
            made = filter_pb2.Filter()
            getattr(made, "not").CopyFrom(filter_to_wire(part))
            return made
        case Comparison():
            return filter_pb2.Filter(comparison=_comparison(filter))


def _comparison(comparison: Comparison) -> filter_pb2.Comparison:
    operator = filter_pb2.Operator.Value(f"OPERATOR_{comparison.operator.name}")
    made = filter_pb2.Comparison(field=comparison.field, operator=operator)
    values = [_value(value) for value in comparison.values]
    if operator == filter_pb2.OPERATOR_IN:
        made.values.extend(values)
    elif values:
        made.value.CopyFrom(values[0])
    return made


def _value(value: Scalar) -> filter_pb2.Value:
    match value:
        case bool():
            return filter_pb2.Value(bool_value=value)
        case str():
            return filter_pb2.Value(string_value=value)
        case datetime():
            made = filter_pb2.Value()
            made.time_value.FromDatetime(value)
            return made
        case _:
            return filter_pb2.Value(number_value=value)
