"""The original's requests and responses as values: what its JSON means in the contracts' terms, and back. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rag.orchestrator.v1 import filter_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.retriever.v1 import document_pb2, retriever_pb2

from chassis.errors import InvalidRequest, MalformedMessage
from gateway.json_faults import Json, printable
from gateway.json_message import number_of, parse_json
from gateway.transcoder import query_pairs

DEFAULT_TOP_K = 5

# The original's names of the fields a filter may name beside metadata.
FIELD_NAMES = {"docId": "document_id"}

_DIGITS = re.compile(r"-?[0-9]{1,9}")
_MODEL_REASONS = frozenset(
    {
        pb.DEGRADED_REASON_MODEL_COLD,
        pb.DEGRADED_REASON_MODEL_UNAVAILABLE,
        pb.DEGRADED_REASON_MODEL_OVERLOADED,
    }
)
_HITS = frozenset({pb.CACHE_STATUS_HIT_EXACT, pb.CACHE_STATUS_HIT_SEMANTIC})


@dataclass(frozen=True, slots=True)
class Question:
    """What the original's requests hold, by its rules: blank text is refused, topK <= 0 is 5, null filters are none."""

    text: str
    filters: Mapping[str, str | float | bool]
    top_k: int


def question_of(value: Json, text_name: str) -> Question:
    """A request of the original's, checked by its rules.

    Raises:
        InvalidRequest: the text is blank.  MalformedMessage: a field has another type.
    """
    if not isinstance(value, dict):
        raise MalformedMessage("body: a JSON object is expected")
    text = value.get(text_name)
    if text is not None and not isinstance(text, str):
        raise MalformedMessage(f"{text_name}: text is expected", metadata={"field": text_name})
    if not (text or "").strip():
        raise InvalidRequest.field(text_name, "must not be blank")
    return Question(str(text), _filters(value.get("filters")), _top_k(value.get("topK")))


def _top_k(value: Json) -> int:
    match value:
        case None | "":
            return DEFAULT_TOP_K
        case bool():
            pass
        case int() if abs(value) < 2**31:
            return value if value > 0 else DEFAULT_TOP_K
        case str() if _DIGITS.fullmatch(value):
            return _top_k(int(value))
    raise MalformedMessage("topK: an integer of 32 bits is expected", metadata={"field": "topK"})


def _filters(value: Json) -> dict[str, str | float | bool]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedMessage("filters: a JSON object is expected", metadata={"field": "filters"})
    return {name: _filter_value(item, printable(f"filters.{name}")) for name, item in value.items() if item is not None}


def _filter_value(value: Json, place: str) -> str | float | bool:
    match value:
        case bool() | str():
            return value
        case int() | float():
            return number_of(value, place)
    raise MalformedMessage(f"{place}: text, a number or a boolean is expected", metadata={"field": place})


def query_object(query: str) -> dict[str, Json]:
    found: dict[str, Json] = dict(query_pairs(query))
    if "filters" in found:
        found["filters"] = parse_json(found["filters"], place="query: filters")
    return found


def filter_of(question: Question) -> filter_pb2.Filter:
    """Every entry must hold: an `and` of equalities; nothing when there are none."""
    built = filter_pb2.Filter()
    for name, value in question.filters.items():
        part = getattr(built, "and").filters.add().comparison
        part.field = FIELD_NAMES.get(name, name)
        part.operator = filter_pb2.OPERATOR_EQ
        match value:
            case bool():
                part.value.bool_value = value
            case str():
                part.value.string_value = value
            case _:
                part.value.number_value = value
    return built


def answer_of(response: pb.AskResponse) -> dict[str, Json]:
    """The original's GenerationResponse."""
    cache = response.started.cache
    # A passage that supports several sentences has a citation for each; the original had one entry per passage.
    cited = {citation.chunk_id: citation for citation in reversed(response.citations)}
    ids = list(dict.fromkeys(citation.chunk_id for citation in response.citations))
    reasons = {item.reason for item in (*response.completed.degraded, *response.retrieval.degraded)}
    return {
        "answer": response.text,
        "citations": ids,
        "citationDetails": [_citation_of(cited[chunk_id]) for chunk_id in ids],
        "partial": response.completed.is_partial,
        "metadata": {
            "cacheHit": cache.status in _HITS,
            "cacheSimilarity": cache.similarity,
            "retrievalMethod": _method_of(response.retrieval.sources, reasons),
            "llmFallback": not _MODEL_REASONS.isdisjoint(reasons),
        },
    }


def _citation_of(citation: pb.Citation) -> dict[str, Json]:
    """`marker`, `title`, `uri` and `quote` are more than the original had."""
    return {
        "id": citation.chunk_id,
        "docId": citation.document_id,
        "source": citation.source,
        "section": citation.section,
        "marker": citation.marker,
        "title": citation.title,
        "uri": citation.uri,
        "quote": citation.quote,
    }


def _method_of(sources: Iterable[pb.Source], reasons: set[pb.DegradedReason.ValueType]) -> str:
    """How the passages were found; the original always said "vector"."""
    if not list(sources):
        return "none"
    if pb.DEGRADED_REASON_LEXICAL_UNAVAILABLE in reasons:
        return "vector"
    if reasons & {pb.DEGRADED_REASON_DENSE_UNAVAILABLE, pb.DEGRADED_REASON_EMBEDDER_UNAVAILABLE}:
        return "lexical"
    return "hybrid"


def passage_of(passage: retriever_pb2.Passage) -> dict[str, Json]:
    return {
        "id": passage.chunk_id,
        "chunk": passage.text,
        "score": passage.score,
        "meta": {
            "source": passage.source,
            "section": passage.section,
            "docId": passage.document_id,  # the original never sent it, and its page filtered by it
            "title": passage.title,
        },
    }


def document_of(document: document_pb2.Document) -> dict[str, Json]:
    """`section` is the document's title: the original put a file's first line there."""
    return {
        "id": document.document_id,
        "docId": document.document_id,
        "source": document.source,
        "section": document.title,
        "chunkCount": document.chunk_count,
    }
