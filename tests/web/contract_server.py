"""A small HTTP server that speaks the contract's JSON and events, for behaviours a healthy system does not show.

The page's files, the headers around them, the events' encoding and the error shape are the gateway's own code; what is
scripted here is only what the services behind it would say, and when.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from rag.orchestrator.v1 import orchestrator_pb2 as orchestrator
from rag.retriever.v1 import collection_pb2, document_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chassis.errors import DocumentNotFound, RagError
from chassis.status import http_of
from gateway.files import PAGE_HEADERS, PageFile, files_under
from gateway.problems import problem
from gateway.sse import TypedEncoder
from tests.web import answers

WEB = Path(__file__).parents[2] / "gateway" / "web"
REQUEST_ID = "request-1"

Step = orchestrator.StreamAskResponse | asyncio.Event | RagError | None
"""One step of a scripted stream: an event, something to wait for, an error, or None: the connection breaks."""


@dataclass
class Scene:
    """What the services say in one test, and what the page asked of them."""

    script: list[Step] = field(default_factory=list)
    refusal: RagError | None = None  # of every ask
    needs_token: str = ""
    documents: dict[str, document_pb2.Document] = field(default_factory=dict)
    refused_files: dict[str, RagError] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    is_ready: bool = True
    page_size: int = 1000
    asks: list[dict[str, Any]] = field(default_factory=list)
    resumed_after: list[str] = field(default_factory=list)
    put: dict[str, bytes] = field(default_factory=dict)
    put_queries: dict[str, dict[str, str]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    caller_left: asyncio.Event = field(default_factory=asyncio.Event)

    def store(self, document_id: str, text: str, **fields: Any) -> None:
        self.documents[document_id] = document_pb2.Document(
            document_id=document_id, text=text, text_chars=len(text), **{"chunk_count": 1, **fields}
        )


def to_json(message: Message) -> dict[str, Any]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)


class ContractServer:
    """Serves the page and the current scene."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.scene = Scene()
        self._files = dict(files_under(WEB, ""))

    def application(self) -> Starlette:
        documents = "/v1/collections/{collection}/documents"
        routes = [
            Route("/readyz", self._ready),
            Route("/v1/collections", self._collections),
            Route("/v1/collections/{collection}:streamAsk", self._stream, methods=["POST"]),
            Route("/v1/collections/{collection}:ask", self._ask, methods=["POST"]),
            Route(documents, self._list),
            Route(documents + "/{id:path}", self._document, methods=["GET", "PUT", "DELETE"]),
            Route("/{name:path}", self._file),
        ]
        return Starlette(routes=routes, exception_handlers={RagError: self._problem})

    async def _file(self, request: Request) -> Response:
        found: PageFile | None = self._files.get(request.url.path)
        if found is None:
            return Response(status_code=404)
        return Response(found.body, headers={**dict(PAGE_HEADERS), "content-type": found.content_type})

    async def _ready(self, request: Request) -> Response:
        return JSONResponse({}, status_code=200 if self.scene.is_ready else 503)

    async def _problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RagError)
        return JSONResponse(problem(error, REQUEST_ID), status_code=http_of(error.reason))

    async def _collections(self, request: Request) -> Response:
        known = collection_pb2.Collection(collection="docs", uid="uid", document_count=len(self.scene.documents))
        shown = to_json(known) | {"fields": dict(self.scene.fields)}
        return JSONResponse({"collections": [shown], "nextPageToken": ""})

    async def _list(self, request: Request) -> Response:
        held = list(self.scene.documents.values())
        start = int(request.query_params["pageToken"] or 0)
        end = start + self.scene.page_size
        page = document_pb2.ListDocumentsResponse(
            documents=held[start:end], total_size=len(held), next_page_token=str(end) if end < len(held) else ""
        )
        return JSONResponse(to_json(page))

    async def _document(self, request: Request) -> Response:
        document_id = request.path_params["id"]
        if request.method == "PUT":
            return await self._put(request, document_id)
        if document_id not in self.scene.documents:
            raise DocumentNotFound("there is no such document")
        if request.method == "DELETE":
            self.scene.deleted.append(document_id)
            del self.scene.documents[document_id]
            return JSONResponse({"generation": "4"})
        return JSONResponse(to_json(self.scene.documents[document_id]))

    async def _put(self, request: Request, document_id: str) -> Response:
        body = await request.body()
        if document_id in self.scene.refused_files:
            raise self.scene.refused_files[document_id]
        self.scene.put[document_id] = body
        self.scene.put_queries[document_id] = dict(request.query_params)
        self.scene.store(document_id, body.decode(), source=request.query_params.get("source", ""), chunk_count=2)
        stored = document_pb2.PutDocumentResponse(
            outcome=document_pb2.INGEST_OUTCOME_STORED, generation=4, document=self.scene.documents[document_id]
        )
        return JSONResponse(to_json(stored))

    async def _admit(self, request: Request) -> None:
        self.scene.asks.append({"body": await request.json(), "token": request.headers.get("authorization", "")})
        ask = orchestrator.AskRequest(collection=request.path_params["collection"])
        Parse(await request.body(), ask)  # the contract's own judgement of what the page sends
        if self.scene.refusal:
            raise self.scene.refusal

    async def _ask(self, request: Request) -> Response:
        await self._admit(request)
        whole = orchestrator.AskResponse()
        for step in self.scene.script:
            assert isinstance(step, orchestrator.StreamAskResponse)
            _fold(whole, step)
        return JSONResponse(to_json(whole))

    async def _stream(self, request: Request) -> Response:
        last_id = request.headers.get("last-event-id", "")
        if last_id:
            self.scene.resumed_after.append(last_id)
        else:
            await self._admit(request)
        return StreamingResponse(self._frames(last_id), media_type="text/event-stream")

    async def _frames(self, last_id: str) -> AsyncIterator[bytes]:
        encoder = TypedEncoder()
        after = int(last_id.rpartition(":")[2] or 0)
        try:
            for number, step in enumerate(self.scene.script, 1):
                if number <= after:
                    continue
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, RagError):
                    yield encoder.encode_error(problem(step, REQUEST_ID))
                    return
                elif step is not None:
                    yield encoder.encode(step, f"answer-1:{number}")
                elif not last_id:
                    return
        except asyncio.CancelledError:
            self.scene.caller_left.set()
            raise


def _fold(whole: orchestrator.AskResponse, step: orchestrator.StreamAskResponse) -> None:
    match step.WhichOneof("event"):
        case "answer_started":
            whole.started.CopyFrom(step.answer_started)
        case "retrieval_completed":
            whole.retrieval.CopyFrom(step.retrieval_completed)
        case "citation_added":
            whole.citations.append(step.citation_added.citation)
        case "answer_delta":
            whole.text += step.answer_delta.text
        case "answer_completed":
            whole.completed.CopyFrom(step.answer_completed)


class _Server(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # signals are pytest's
        return nullcontext()


@asynccontextmanager
async def contract_server() -> AsyncIterator[ContractServer]:
    """A server on a free port, in the loop of the tests that talk to it."""
    # The protocol is named, or asyncio leaves Nagle's algorithm on: 40 ms for every response on a used connection.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = ContractServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            server.application(), lifespan="off", log_config=None, timeout_graceful_shutdown=1, ws="none"
        )
        running = _Server(config)
        task = asyncio.create_task(running.serve(sockets=[listener]))
        try:
            yield server
        finally:
            running.should_exit = True
            await task


def demo_scene() -> Scene:
    """A collection with two documents and an answer that cites one of them."""
    scene = Scene(script=list(answers.whole_answer()))
    scene.store(answers.DOCUMENT_ID, answers.TEXT, title="The answer cache", source="docs", chunk_count=5)
    scene.store("consistency.md", answers.TEXT, title="Consistency", source="docs", chunk_count=7)
    return scene
