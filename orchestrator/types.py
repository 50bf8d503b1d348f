"""The orchestrator's nouns. No wire: plain frozen values.

Rule 1: an answer is its event list. `fold` of the events is the unary answer; there is no second way to make one.
Rule 2: exactly one AnswerStarted first, one RetrievalCompleted before the first delta, each CitationAdded before the
        delta that first holds its marker, exactly one AnswerCompleted last; no terminal event means failure.
Rule 3: degraded is not failed: it is reported in the answer, counted, and never cached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chassis.identity import Identity

Scalar = str | float | bool | datetime


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    IN = "in"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Comparison:
    field: str
    operator: Operator
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


Filter = And | Or | Not | Comparison
EVERYTHING: Filter = And()


class CachePolicy(StrEnum):
    DEFAULT = "DEFAULT"
    BYPASS = "BYPASS"
    REFRESH = "REFRESH"


@dataclass(frozen=True, slots=True)
class Sampling:
    max_tokens: int = 512
    temperature: float = 0.2
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A validated ask, defaults filled in. `redacted` = something in `text` was taken out: no cache at all."""

    identity: Identity
    collection: str
    text: str
    request_id: str
    top_k: int = 5
    filter: Filter = EVERYTHING
    cache_policy: CachePolicy = CachePolicy.DEFAULT
    sampling: Sampling = field(default_factory=Sampling)
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the retriever's readers see now. (uid, generation) names one visible state of one collection."""

    collection_uid: str
    generation: int
    retrieval_fingerprint: str
    embedder_fingerprint: str


@dataclass(frozen=True, slots=True)
class Filling:
    """A snapshot from the retriever, and whether it lies in the mirror now."""

    snapshot: Snapshot
    is_mirrored: bool


class DegradedReason(StrEnum):
    LEXICAL_UNAVAILABLE = "LEXICAL_UNAVAILABLE"
    DENSE_UNAVAILABLE = "DENSE_UNAVAILABLE"
    EMBEDDER_UNAVAILABLE = "EMBEDDER_UNAVAILABLE"
    RERANK_SKIPPED = "RERANK_SKIPPED"
    CATALOGUE_UNAVAILABLE = "CATALOGUE_UNAVAILABLE"
    CACHE_UNAVAILABLE = "CACHE_UNAVAILABLE"
    MODEL_COLD = "MODEL_COLD"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    MODEL_OVERLOADED = "MODEL_OVERLOADED"
    DEADLINE_TRIMMED = "DEADLINE_TRIMMED"
    RETRIEVER_UNAVAILABLE = "RETRIEVER_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Degradation:
    stage: str
    reason: DegradedReason
    effect: str
    milliseconds: float = 0.0
    retry_after_s: float = 0.0  # 0: asking again is not known to help


@dataclass(frozen=True, slots=True)
class Source:
    """A numbered passage; text == document text[start_char:end_char]."""

    marker: int
    chunk_id: str
    document_id: str
    title: str
    uri: str
    source: str
    section: str
    page: int
    start_char: int
    end_char: int
    text: str
    score: float = 0.0
    dense_rank: int = 0
    lexical_rank: int = 0
    dense_score: float | None = None  # cosine, for grounding; not on the public wire
    lexical_score: float | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    sources: tuple[Source, ...]
    snapshot: Snapshot
    degraded: tuple[Degradation, ...] = ()
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Citation:
    """The words of one source that support the answer: document text[start_char:end_char] == quote."""

    marker: int
    document_id: str
    title: str
    uri: str
    source: str
    section: str
    page: int
    chunk_id: str
    quote: str
    start_char: int
    end_char: int


class CacheStatus(StrEnum):
    MISS = "MISS"
    HIT_EXACT = "HIT_EXACT"
    HIT_SEMANTIC = "HIT_SEMANTIC"
    SKIPPED = "SKIPPED"
    JOINED = "JOINED"


@dataclass(frozen=True, slots=True)
class CacheResult:
    status: CacheStatus
    similarity: float = 0.0
    origin_answer_id: str = ""
    age_s: float = 0.0


class FinishReason(StrEnum):
    STOP = "STOP"
    LENGTH = "LENGTH"
    DEADLINE = "DEADLINE"
    ERROR = "ERROR"
    NOT_FOUND = "NOT_FOUND"


class Grounding(StrEnum):
    SUPPORTED = "SUPPORTED"
    PARTIAL = "PARTIAL"
    NOT_FOUND = "NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    saved_tokens: int = 0
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class Timings:
    total_ms: float = 0.0
    queue_ms: float = 0.0
    cache_ms: float = 0.0
    embed_ms: float = 0.0
    retrieve_ms: float = 0.0
    first_token_ms: float = 0.0
    generate_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    currency: str = "USD"
    amount: float = 0.0
    saved: float = 0.0


# Events of an answer


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    answer_id: str
    request_id: str
    trace_id: str
    model: str
    cache: CacheResult


@dataclass(frozen=True, slots=True)
class RetrievalCompleted:
    sources: tuple[Source, ...]
    degraded: tuple[Degradation, ...]
    milliseconds: float
    collection_uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class CitationAdded:
    citation: Citation


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    text: str


@dataclass(frozen=True, slots=True)
class AnswerCompleted:
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    cost: Cost
    grounding: Grounding
    cited_markers: tuple[int, ...]
    degraded: tuple[Degradation, ...]
    is_partial: bool


AnswerEvent = AnswerStarted | RetrievalCompleted | CitationAdded | AnswerDelta | AnswerCompleted


@dataclass(frozen=True, slots=True)
class Answer:
    """The fold of an answer's events."""

    started: AnswerStarted
    retrieval: RetrievalCompleted
    text: str
    citations: tuple[Citation, ...]
    completed: AnswerCompleted


# Generation


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator is given: rendered text for completion engines, messages for chat ones, and the packed sources.

    `question` and `sources` are for generators that need no rendering (extractive); `sources` are those that fitted.
    """

    system: str
    user: str
    question: str
    sources: tuple[Source, ...]
    prompt_tokens: int
    is_estimate: bool


@dataclass(frozen=True, slots=True)
class TextPiece:
    """More generated text: as raw as the engine sends it; markers are not validated yet."""

    text: str


@dataclass(frozen=True, slots=True)
class GenerationEnd:
    """The engine's end: STOP, LENGTH, or NOT_FOUND when the generator itself says the sources do not answer."""

    finish_reason: FinishReason
    prompt_tokens: int | None = None  # None: the engine does not say
    completion_tokens: int | None = None
    is_estimate: bool = False


GenerationEvent = TextPiece | GenerationEnd


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A generator's identity. `fingerprint` covers revision and everything that changes its words."""

    name: str
    fingerprint: str
    context_tokens: int = 8_192
    price_per_million_prompt_tokens: float = 0.0
    price_per_million_completion_tokens: float = 0.0


# Cache


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Both tiers' key: `partition` hashes everything but the question, `question` the normalised question."""

    partition: str
    question: str


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A complete, undegraded, grounded answer and the snapshot it was made at."""

    tenant: str
    collection: str
    answer_id: str
    question_text: str  # normalised; the guard needs the words
    snapshot: Snapshot
    model: str
    retrieval: RetrievalCompleted
    text: str
    citations: tuple[Citation, ...]
    completed: AnswerCompleted
    created_at_s: float  # wall seconds
    vector: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    answer: CachedAnswer
    similarity: float


PriceTable = Mapping[str, tuple[float, float]]
