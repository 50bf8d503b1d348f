"""Small services of the real contracts behind a real gRPC server: what the gateway's tests put behind it.

They check a few fields, keep documents in a dict, answer by the question's first word, and note what they saw. The
frame around them is chassis.server, so errors, deadlines and identities are the real ones.
"""
# ruff: noqa: N802  # the contract's names

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rag.orchestrator.v1 import orchestrator_pb2 as ask_pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as ask_rpc
from rag.retriever.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    document_pb2,
    document_pb2_grpc,
    retriever_pb2,
    retriever_pb2_grpc,
)

from chassis.admission import Admission, Limit
from chassis.auth import LocalAuthenticator
from chassis.context import current
from chassis.errors import (
    AnswerNotFound,
    CollectionNotFound,
    CredentialsMissing,
    DocumentEmpty,
    DocumentNotFound,
    InvalidRequest,
    Overloaded,
    PageTokenInvalid,
)
from chassis.server import ServiceBinding, serve
from chassis.status import to_rpc_status
from chassis.telemetry import Telemetry

MAX_DOCUMENT = 4 * 1024 * 1024
SOURCES = [
    ask_pb.Source(marker=1, chunk_id="c1", document_id="leave.md", source="handbook", section="Leave", text="30 days"),
    ask_pb.Source(marker=2, chunk_id="c2", document_id="pay.md", source="handbook", section="Pay", text="monthly"),
]
CITATION = ask_pb.Citation(
    marker=1, document_id="leave.md", source="handbook", section="Leave", chunk_id="c1", quote="30 days", end_char=7
)
AGAIN = ask_pb.Citation(
    marker=1,
    document_id="leave.md",
    source="handbook",
    section="Leave",
    chunk_id="c1",
    quote="days",
    start_char=3,
    end_char=7,
)


@dataclass
class Seen:
    """What reached the services."""

    requests: list[Any] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    asks: int = 0

    def note(self, request) -> None:
        self.requests.append(request)
        self.contexts.append(current())


def events_of(request, answer_id: str) -> list[ask_pb.StreamAskResponse]:
    """The events of a short answer with a line end and one citation."""
    started = ask_pb.AnswerStarted(answer_id=answer_id, request_id=current().request_id, model="extractive")
    started.cache.status = ask_pb.CACHE_STATUS_MISS
    completed = ask_pb.AnswerCompleted(
        finish_reason=ask_pb.FINISH_REASON_STOP, grounding=ask_pb.GROUNDING_SUPPORTED, cited_markers=[1]
    )
    events = [
        ask_pb.StreamAskResponse(answer_started=started),
        ask_pb.StreamAskResponse(retrieval_completed=ask_pb.RetrievalCompleted(sources=SOURCES)),
        ask_pb.StreamAskResponse(citation_added=ask_pb.CitationAdded(citation=CITATION)),
        ask_pb.StreamAskResponse(answer_delta=ask_pb.AnswerDelta(text="You have\n30 days")),
        ask_pb.StreamAskResponse(answer_delta=ask_pb.AnswerDelta(text=" of leave [1].")),
        ask_pb.StreamAskResponse(answer_completed=completed),
    ]
    if request.question.startswith("twice"):
        events[5:5] = [
            ask_pb.StreamAskResponse(citation_added=ask_pb.CitationAdded(citation=AGAIN)),
            ask_pb.StreamAskResponse(answer_delta=ask_pb.AnswerDelta(text=" They are days [1].")),
        ]
    for position, event in enumerate(events, 1):
        event.sequence = position
    return events


class Orchestrator(ask_rpc.OrchestratorServiceServicer):
    """Questions: "wait ..." blocks, "busy" is shed, "broken ..." breaks in mid-stream, "lost" before the first word,
    "bug" is a bug of ours.

    "twice ..." cites its source again, with another quote.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def Ask(self, request, context):
        events = [event async for event in self.StreamAsk(request, context)]
        response = ask_pb.AskResponse(started=events[0].answer_started, retrieval=events[1].retrieval_completed)
        response.citations.extend(
            event.citation_added.citation for event in events if event.WhichOneof("event") == "citation_added"
        )
        response.text = "".join(event.answer_delta.text for event in events)
        response.completed.CopyFrom(events[-1].answer_completed)
        return response

    async def StreamAsk(self, request, context) -> AsyncIterator[ask_pb.StreamAskResponse]:
        self._seen.note(request)
        self._seen.asks += 1
        check(request.collection, request.question, "question", request.top_k)
        word = request.question.split()[0]
        if word == "busy":
            raise Overloaded("too many calls; try again", retry_after_s=1.4)
        if word == "bug":
            raise ValueError("secret of the house: " + request.question)
        if word == "private":
            raise CredentialsMissing("credentials are needed")
        events = events_of(request, f"a{self._seen.asks}")
        try:
            for event in events[: 1 if word == "lost" else 4]:
                yield event
            if word == "wait":
                self._seen.started.set()
                await self._seen.release.wait()
            if word in {"broken", "lost"}:
                raise Overloaded("the model is gone; try again", retry_after_s=1)
            if word == "endless":
                return
            for event in events[4:]:
                yield event
        except asyncio.CancelledError:
            self._seen.cancelled.set()
            raise

    async def EvictAnswer(self, request, context):
        self._seen.note(request)
        if not request.answer_id.startswith("a"):
            raise AnswerNotFound("no cached answer has this id", metadata={"answer": request.answer_id})
        return ask_pb.EvictAnswerResponse()


class Retriever(retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def Retrieve(self, request, context):
        self._seen.note(request)
        check(request.collection, request.query, "query", request.top_k)
        response = retriever_pb2.RetrieveResponse()
        response.passages.add(
            chunk_id="c1", text="30 days", document_id="leave.md", source="handbook", section="Leave", score=0.5
        )
        response.snapshot.generation = 7
        return response

    async def GetSnapshot(self, request, context):
        self._seen.note(request)
        check(request.collection)
        return retriever_pb2.Snapshot(collection_uid="u1", generation=7)


class Documents(document_pb2_grpc.DocumentServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.stored: dict[tuple[str, str], document_pb2.Document] = {}
        self.received_bytes = 0
        self.receiving = asyncio.Event()

    async def PutDocument(self, request, context):
        self._seen.note(request)
        check(request.collection)
        document = self._store(request.collection, request.document, len(request.document.text))
        return document_pb2.PutDocumentResponse(
            outcome=document_pb2.INGEST_OUTCOME_STORED, generation=3, document=document
        )

    async def GetDocument(self, request, context):
        self._seen.note(request)
        return self._found(request)

    async def ListDocuments(self, request, context):
        self._seen.note(request)
        check(request.collection)
        if request.page_token not in {"", "p2"}:
            raise PageTokenInvalid.field("page_token", "not a token of this server")
        documents = [document for (name, _), document in sorted(self.stored.items()) if name == request.collection]
        response = document_pb2.ListDocumentsResponse(total_size=len(documents))
        response.documents.extend(documents[1:] if request.page_token else documents[:1])
        response.next_page_token = "" if request.page_token or len(documents) < 2 else "p2"
        return response

    async def DeleteDocument(self, request, context):
        self._seen.note(request)
        self._found(request)
        del self.stored[request.collection, request.document_id]
        return document_pb2.DeleteDocumentResponse(generation=4)

    async def IngestDocuments(self, requests, context):
        collection, document, size = "", document_pb2.DocumentInput(), 0
        async for request in requests:
            collection = request.collection or collection
            if request.WhichOneof("item") == "document":
                self._seen.note(request)
                document, size = request.document, 0
                if document.title == "refuse":
                    yield failed(DocumentEmpty("the document has no text"))
                    return
            else:
                size += len(request.part.data)
                self.received_bytes += len(request.part.data)
                self.receiving.set()
                if request.part.is_last:
                    check(collection)
                    self._store(collection, document, size)
                    yield document_pb2.IngestDocumentsResponse(
                        document_id=document.document_id,
                        outcome=document_pb2.INGEST_OUTCOME_STORED,
                        generation=5,
                        chunk_count=1,
                    )

    def _store(self, collection, given, size):
        if not 1 <= len(given.document_id) <= 512:
            raise InvalidRequest.field("document.document_id", "1 to 512 characters are expected")
        document = document_pb2.Document(
            document_id=given.document_id,
            title=given.title,
            uri=given.uri,
            source=given.source,
            content_type=given.content_type,
            groups=given.groups,
            size_bytes=size,
            chunk_count=1,
        )
        for name, value in given.metadata.items():
            document.metadata[name].CopyFrom(value)
        self.stored[collection, given.document_id] = document
        return document

    def _found(self, request):
        check(request.collection)
        document = self.stored.get((request.collection, request.document_id))
        if document is None:
            raise DocumentNotFound("no such document", metadata={"document": request.document_id})
        return document


class Collections(collection_pb2_grpc.CollectionServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def GetCollection(self, request, context):
        self._seen.note(request)
        check(request.collection)
        return collection_pb2.Collection(collection=request.collection, uid="u1", generation=7)

    async def ListCollections(self, request, context):
        self._seen.note(request)
        if request.page_token:
            raise PageTokenInvalid.field("page_token", "not a token of this server")
        return collection_pb2.ListCollectionsResponse(collections=[collection_pb2.Collection(collection="docs")])

    async def DeleteCollection(self, request, context):
        self._seen.note(request)
        check(request.collection)
        return collection_pb2.DeleteCollectionResponse()


def check(collection: str, text: str = "x", name: str = "", top_k: int = 0) -> None:
    if not collection.isascii() or not collection.replace("-", "").replace("_", "").isalnum():
        raise InvalidRequest.field("collection", "1 to 64 of a-z, 0-9, '_' and '-' are expected")
    if collection == "nowhere":
        raise CollectionNotFound("no such collection", metadata={"collection": collection})
    if not text.strip() or len(text) > 4096:
        raise InvalidRequest.field(name, "1 to 4,096 characters are expected")
    if not 0 <= top_k <= 100:
        raise InvalidRequest.field("top_k", "1 to 100 is expected")


def failed(error) -> document_pb2.IngestDocumentsResponse:
    response = document_pb2.IngestDocumentsResponse(outcome=document_pb2.INGEST_OUTCOME_FAILED)
    response.error.CopyFrom(to_rpc_status(error, "r"))
    return response


@asynccontextmanager
async def running_services(seen: Seen, documents: Documents):
    """Every service on one free port, as `askmesh up` has them."""
    bindings = [
        ServiceBinding(
            "rag.orchestrator.v1.OrchestratorService",
            ask_rpc.add_OrchestratorServiceServicer_to_server,
            Orchestrator(seen),
        ),
        ServiceBinding(
            "rag.retriever.v1.RetrieverService",
            retriever_pb2_grpc.add_RetrieverServiceServicer_to_server,
            Retriever(seen),
        ),
        ServiceBinding(
            "rag.retriever.v1.DocumentService",
            document_pb2_grpc.add_DocumentServiceServicer_to_server,
            documents,
            {"PutDocument": MAX_DOCUMENT, "IngestDocuments": MAX_DOCUMENT},
        ),
        ServiceBinding(
            "rag.retriever.v1.CollectionService",
            collection_pb2_grpc.add_CollectionServiceServicer_to_server,
            Collections(seen),
        ),
    ]
    async with serve(
        address="127.0.0.1:0",
        bindings=bindings,
        authenticator=LocalAuthenticator(),
        admission=Admission(Limit(concurrency=64, queue=256)),
        telemetry=Telemetry("services"),
        drain_s=0.2,
    ) as server:
        yield server
