"""The original Java system's routes, answered by the contract's services. Its clients must work unchanged.

POST /v1/ask, GET and POST /v1/ask/stream, POST /v1/retrieve, GET /v1/documents; the actuator's are in status_pages.
They name no collection: a setting does. What differs on purpose (the original's defects): streams are real, keep line
ends and filters, and end with a readable error; filters are typed and exact; citations are the passages that were used.

What it does not do: refuse unknown JSON fields. The original ignored them, and its clients may send some.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from rag.orchestrator.v1 import filter_pb2, orchestrator_pb2
from rag.retriever.v1 import document_pb2, retriever_pb2

from chassis.errors import CollectionNotFound, FieldViolation, InvalidRequest, MalformedMessage
from gateway.exchange import Exchange
from gateway.json_message import Json, dump, number_of, parse_json, printable
from gateway.replay import Event
from gateway.sse import ERROR_EVENT, EventStreams, frame
from gateway.transcoder import query_pairs
from gateway.upstream import Upstream, method_named

DEFAULT_TOP_K = 5
LIST_PAGE = 1_000  # the most a page may have
LIST_LIMIT = 100_000  # what the original's client holds in memory as well; more belongs to the paged route

# The original's names of the fields a filter may name beside metadata.
FIELD_NAMES = {"docId": "document_id"}

_DIGITS = re.compile(r"-?[0-9]{1,9}")

_ASK = orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"]
_RETRIEVE = retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"]
_DOCUMENTS = document_pb2.DESCRIPTOR.services_by_name["DocumentService"]

_Pb = orchestrator_pb2
_MODEL_REASONS = frozenset(
    {
        _Pb.DEGRADED_REASON_MODEL_COLD,
        _Pb.DEGRADED_REASON_MODEL_UNAVAILABLE,
        _Pb.DEGRADED_REASON_MODEL_OVERLOADED,
    }
)
_HITS = frozenset({_Pb.CACHE_STATUS_HIT_EXACT, _Pb.CACHE_STATUS_HIT_SEMANTIC})


@dataclass(frozen=True, slots=True)
class Question:
    """What the original's requests hold, by its rules: blank text is refused, topK <= 0 is 5, null filters are none."""

    text: str
    filters: Mapping[str, str | float | bool]
    top_k: int


class CompatRoutes:
    """Handlers of the original's routes.

    Args:
        collection: Which collection they mean.
        max_bytes: Largest body.
    """

    def __init__(self, upstream: Upstream, streams: EventStreams, *, collection: str, max_bytes: int) -> None:
        self._upstream = upstream
        self._streams = streams
        self._collection = collection
        self._max_bytes = max_bytes

    async def ask(self, exchange: Exchange) -> None:
        request = self._ask_request(await self._posted(exchange, "prompt"))
        call = self._upstream.call(method_named(_ASK, "Ask"), request, exchange.budget)
        with _original_names("prompt"):
            response = await exchange.while_connected(call)
        await exchange.respond_json(answer_of(cast("_Pb.AskResponse", response)))

    async def stream_posted(self, exchange: Exchange) -> None:
        if not await self._streams.resume(exchange, TokenEncoder()):
            await self._stream(exchange, await self._posted(exchange, "prompt"))

    async def stream_got(self, exchange: Exchange) -> None:
        if not await self._streams.resume(exchange, TokenEncoder()):
            await self._stream(exchange, question_of(_query_object(exchange.query), "prompt"))

    async def retrieve(self, exchange: Exchange) -> None:
        question = await self._posted(exchange, "text")
        request = retriever_pb2.RetrieveRequest(collection=self._collection, query=question.text, top_k=question.top_k)
        request.filter.MergeFromString(filter_of(question).SerializeToString())  # the same tree in both packages
        call = self._upstream.call(method_named(_RETRIEVE, "Retrieve"), request, exchange.budget)
        with _original_names("text"):
            response = cast("retriever_pb2.RetrieveResponse", await exchange.while_connected(call))
        await exchange.respond_json([passage_of(passage) for passage in response.passages])

    async def documents(self, exchange: Exchange) -> None:
        await exchange.respond_json(await exchange.while_connected(self._listed(exchange)))

    async def _posted(self, exchange: Exchange, text_name: str) -> Question:
        return question_of(parse_json(await exchange.body(self._max_bytes)), text_name)

    async def _stream(self, exchange: Exchange, question: Question) -> None:
        request = self._ask_request(question)

        def ask() -> AsyncIterator[Event]:
            events = self._upstream.stream(method_named(_ASK, "StreamAsk"), request, exchange.budget)
            return cast("AsyncIterator[Event]", events)

        with _original_names("prompt"):
            await self._streams.serve(exchange, TokenEncoder(), ask)

    def _ask_request(self, question: Question) -> _Pb.AskRequest:
        return _Pb.AskRequest(
            collection=self._collection, question=question.text, top_k=question.top_k, filter=filter_of(question)
        )

    async def _listed(self, exchange: Exchange) -> list[Json]:
        method = method_named(_DOCUMENTS, "ListDocuments")
        listed: list[Json] = []
        request = document_pb2.ListDocumentsRequest(collection=self._collection, page_size=LIST_PAGE)
        while len(listed) < LIST_LIMIT:
            try:
                page = await self._upstream.call(method, request, exchange.budget)
            except CollectionNotFound:  # the original's empty index was an empty list
                return []
            assert isinstance(page, document_pb2.ListDocumentsResponse)
            listed += [document_of(document) for document in page.documents]
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        return listed


class TokenEncoder:
    """`token` per piece of text, `metadata` (JSON), `complete` (the cited ids, joined by commas), `error` (JSON).

    `complete` keeps the original's data, so that clients which split it at commas go on working; what the original hid
    in a comment nobody could read is the `metadata` event before it.
    """

    def __init__(self) -> None:
        self._answer = _Pb.AskResponse()

    def encode(self, event: Event, event_id: str) -> bytes:
        match event.WhichOneof("event"):
            case "answer_started":
                self._answer.started.CopyFrom(event.answer_started)
            case "retrieval_completed":
                self._answer.retrieval.CopyFrom(event.retrieval_completed)
            case "citation_added":
                self._answer.citations.append(event.citation_added.citation)
            case "answer_delta":
                return frame("token", event.answer_delta.text, event_id)
            case "answer_completed":
                self._answer.completed.CopyFrom(event.answer_completed)
                return self._ending(event_id)
        return b""

    def encode_error(self, error: Json) -> bytes:
        return frame(ERROR_EVENT, dump(error).decode())

    def _ending(self, event_id: str) -> bytes:
        whole = answer_of(self._answer)
        del whole["answer"]
        complete = ",".join(whole["citations"])
        return frame("metadata", dump(whole).decode()) + frame("complete", complete, event_id)


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


@contextmanager
def _original_names(text_name: str) -> Iterator[None]:
    """A service's complaint about a field, with the name the original's caller gave it."""
    names = {"question": text_name, "query": text_name, "top_k": "topK", "filter": "filters"}
    try:
        yield
    except InvalidRequest as error:
        renamed = [
            FieldViolation(names.get(found.field.partition(".")[0], found.field), found.description)
            for found in error.violations
        ]
        message = "; ".join(f"{item.field}: {item.description}" for item in renamed) or error.message
        raise type(error)(message, renamed, metadata=error.metadata) from error


def _query_object(query: str) -> dict[str, Json]:
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


def answer_of(response: _Pb.AskResponse) -> dict[str, Json]:
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


def _citation_of(citation: _Pb.Citation) -> dict[str, Json]:
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


def _method_of(sources: Iterable[_Pb.Source], reasons: set[_Pb.DegradedReason.ValueType]) -> str:
    """How the passages were found; the original always said "vector"."""
    if not list(sources):
        return "none"
    if _Pb.DEGRADED_REASON_LEXICAL_UNAVAILABLE in reasons:
        return "vector"
    if reasons & {_Pb.DEGRADED_REASON_DENSE_UNAVAILABLE, _Pb.DEGRADED_REASON_EMBEDDER_UNAVAILABLE}:
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
