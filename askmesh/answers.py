"""What an ask returns: the answer, and the events it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.descriptor import EnumDescriptor
from rag.orchestrator.v1 import orchestrator_pb2 as pb

Citation = pb.Citation
Source = pb.Source
Usage = pb.Usage
Timings = pb.Timings
Cost = pb.Cost


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something the answer had to do without; `reason` is a value of DegradedReason without its prefix.

    Attributes:
        retry_after_s: When asking again may give an answer without this loss; 0: not known.
    """

    stage: str
    reason: str
    effect: str
    milliseconds: float
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Started:
    """The first event. `cache` is MISS, HIT_EXACT, HIT_SEMANTIC, SKIPPED or JOINED."""

    answer_id: str
    request_id: str
    trace_id: str
    model: str
    cache: str
    similarity: float
    origin_answer_id: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The numbered passages, before the first word."""

    sources: tuple[Source, ...]
    degraded: tuple[Degraded, ...]
    milliseconds: float
    collection_uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation whose marker is about to appear."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class Delta:
    """More of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The last event.

    `grounding` is SUPPORTED, PARTIAL or NOT_FOUND; `finish_reason` STOP, LENGTH, DEADLINE, ERROR or NOT_FOUND.
    """

    finish_reason: str
    grounding: str
    cited_markers: tuple[int, ...]
    degraded: tuple[Degraded, ...]
    is_partial: bool
    usage: Usage
    timings: Timings
    cost: Cost


Event = Started | Retrieved | Cited | Delta | Completed


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: text with [n] markers, and a citation for every marker."""

    text: str
    citations: tuple[Citation, ...]
    started: Started
    retrieval: Retrieved
    completed: Completed

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.retrieval.sources

    @property
    def grounding(self) -> str:
        return self.completed.grounding

    @property
    def degraded(self) -> tuple[Degraded, ...]:
        return self.completed.degraded


def event_of(message: pb.StreamAskResponse) -> Event | None:
    """The event in a stream message; None for one a newer server sends and this client does not know."""
    match message.WhichOneof("event"):
        case "answer_started":
            return _started(message.answer_started)
        case "retrieval_completed":
            return _retrieved(message.retrieval_completed)
        case "citation_added":
            return Cited(message.citation_added.citation)
        case "answer_delta":
            return Delta(message.answer_delta.text)
        case "answer_completed":
            return _completed(message.answer_completed)
    return None


def answer_of(message: pb.AskResponse) -> Answer:
    """The answer in a unary reply."""
    return Answer(
        text=message.text,
        citations=tuple(message.citations),
        started=_started(message.started),
        retrieval=_retrieved(message.retrieval),
        completed=_completed(message.completed),
    )


def _started(message: pb.AnswerStarted) -> Started:
    return Started(
        answer_id=message.answer_id,
        request_id=message.request_id,
        trace_id=message.trace_id,
        model=message.model,
        cache=name_of(pb.CacheStatus.DESCRIPTOR, message.cache.status, "CACHE_STATUS_"),
        similarity=message.cache.similarity,
        origin_answer_id=message.cache.origin_answer_id,
        age_s=message.cache.age_seconds,
    )


def _retrieved(message: pb.RetrievalCompleted) -> Retrieved:
    return Retrieved(
        sources=tuple(message.sources),
        degraded=_degraded(message.degraded),
        milliseconds=message.milliseconds,
        collection_uid=message.collection_uid,
        generation=message.generation,
    )


def _completed(message: pb.AnswerCompleted) -> Completed:
    return Completed(
        finish_reason=name_of(pb.FinishReason.DESCRIPTOR, message.finish_reason, "FINISH_REASON_"),
        grounding=name_of(pb.Grounding.DESCRIPTOR, message.grounding, "GROUNDING_"),
        cited_markers=tuple(message.cited_markers),
        degraded=_degraded(message.degraded),
        is_partial=message.is_partial,
        usage=message.usage,
        timings=message.timings,
        cost=message.cost,
    )


def _degraded(messages: Iterable[pb.Degradation]) -> tuple[Degraded, ...]:
    return tuple(
        Degraded(
            stage=message.stage,
            reason=name_of(pb.DegradedReason.DESCRIPTOR, message.reason, "DEGRADED_REASON_"),
            effect=message.effect,
            milliseconds=message.milliseconds,
            retry_after_s=message.retry_after.ToMilliseconds() / 1_000,
        )
        for message in messages
    )


def name_of(enum: EnumDescriptor, value: int, prefix: str) -> str:
    """A value's name without its prefix; "UNKNOWN_7" for one that a newer server sends."""
    known = enum.values_by_number.get(value)
    return known.name.removeprefix(prefix) if known else f"UNKNOWN_{value}"
