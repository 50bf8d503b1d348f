"""The original Java system's routes, answered by the contract's services. Its clients must work unchanged.

POST /v1/ask, GET and POST /v1/ask/stream, POST /v1/retrieve, GET /v1/documents; the actuator's are in status_pages.
They name no collection: a setting does. What differs on purpose (the original's defects): streams are real, keep line
ends and filters, and end with a readable error; filters are typed and exact; citations are the passages that were used.

What it does not do: refuse unknown JSON fields. The original ignored them, and its clients may send some.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

from rag.orchestrator.v1 import orchestrator_pb2
from rag.retriever.v1 import document_pb2, retriever_pb2

from chassis.errors import CollectionNotFound, FieldViolation, InvalidRequest
from gateway.compat_shapes import Question, answer_of, document_of, filter_of, passage_of, query_object, question_of
from gateway.exchange import Exchange
from gateway.json_faults import Json
from gateway.json_message import dump, parse_json
from gateway.replay import Event
from gateway.sse import ERROR_EVENT, EventStreams, frame, marker
from gateway.upstream import Upstream, method_named

LIST_PAGE = 1_000  # the most a page may have
LIST_LIMIT = 100_000  # what the original's client holds in memory as well; more belongs to the paged route

_ASK = orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"]
_RETRIEVE = retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"]
_DOCUMENTS = document_pb2.DESCRIPTOR.services_by_name["DocumentService"]


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
        await exchange.respond_json(answer_of(cast("orchestrator_pb2.AskResponse", response)))

    async def stream_posted(self, exchange: Exchange) -> None:
        if not await self._streams.resume(exchange, TokenEncoder()):
            await self._stream(exchange, await self._posted(exchange, "prompt"))

    async def stream_got(self, exchange: Exchange) -> None:
        if not await self._streams.resume(exchange, TokenEncoder()):
            await self._stream(exchange, question_of(query_object(exchange.query), "prompt"))

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

    def _ask_request(self, question: Question) -> orchestrator_pb2.AskRequest:
        return orchestrator_pb2.AskRequest(
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
        self._answer = orchestrator_pb2.AskResponse()

    def encode(self, event: Event, event_id: str) -> bytes:
        match event.WhichOneof("event"):
            case "answer_started":
                self._answer.started.CopyFrom(event.answer_started)
                return marker(event_id)  # who loses the connection before the first token must not ask again either
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
