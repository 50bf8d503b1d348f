"""The asynchronous client: typed calls, one exception class per reason (chassis.errors), a deadline on every call.

It retries nothing: an ask is not idempotent, and between services the mesh owns retries (design.md section 7). An error
that is worth another try carries `retry_after_s`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc
from rag.orchestrator.v1 import orchestrator_pb2 as ask_pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as ask_rpc
from rag.retriever.v1 import backup_pb2, backup_pb2_grpc, collection_pb2, collection_pb2_grpc
from rag.retriever.v1 import document_pb2 as doc_pb
from rag.retriever.v1 import document_pb2_grpc as doc_rpc
from rag.retriever.v1 import retriever_pb2 as search_pb
from rag.retriever.v1 import retriever_pb2_grpc as search_rpc

from askmesh.answers import Answer, Event, answer_of, event_of
from askmesh.documents import Collection, Document, DocumentFile, IngestResult
from askmesh.filters import Condition
from askmesh.importing import Import
from askmesh.ingesting import Ingest
from chassis import status
from chassis.channel import open_channel
from chassis.context import are_carried
from chassis.errors import BackendUnavailable, InvalidRequest

DEFAULT_TARGET = "127.0.0.1:50051"  # where `askmesh up` serves gRPC
DEFAULT_TIMEOUT_S = 30.0  # the server's own default for an ask
INGEST_TIMEOUT_S = 24 * 3600.0  # a stream of any number of documents; back-pressure paces it

Passage = search_pb.Passage


class AsyncClient:
    """Talks to askmesh over gRPC.

    Args:
        target: "host:port" or "unix:/path" of a server that has all services (`askmesh up`, or a mesh gateway).
        collection: The collection of calls that name none.
        token: An API key or a JWT, sent as a bearer token; empty for a server without credentials.
        timeout_s: Deadline of calls that name none, in seconds.

    Every method raises chassis.errors.RagError subclasses, one class per reason, and nothing else of the wire.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        collection: str = "docs",
        token: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        if not are_carried(f"Bearer {token}"):
            raise InvalidRequest.field("token", "an API key or a JWT is printable ASCII, without line ends")
        self._collection = collection
        self._timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = open_channel(target)
        self._asks = ask_rpc.OrchestratorServiceStub(self._channel)
        self._passages = search_rpc.RetrieverServiceStub(self._channel)
        self._documents = doc_rpc.DocumentServiceStub(self._channel)
        self._backups = backup_pb2_grpc.BackupServiceStub(self._channel)
        self._collections = collection_pb2_grpc.CollectionServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    async def ask(
        self,
        question: str,
        *,
        collection: str = "",
        top_k: int = 0,
        filter: Condition | None = None,
        cache: str = "DEFAULT",
        limits: ask_pb.GenerationLimits | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """Ask and wait for the whole answer.

        Args:
            question: 1 to 4,096 characters.
            collection: Where to look; empty: the client's own.
            top_k: Passages to answer from, 1 to 100; 0 means 5.
            filter: Only documents that match.
            cache: DEFAULT, BYPASS (neither look up nor store) or REFRESH (store over the old).
            limits: Tokens, temperature, seed.
            request_id: The caller's own id; empty: the server makes one.
            timeout_s: Deadline in seconds; None: the client's own.
        """
        request = self._ask_request(
            question,
            collection=collection,
            top_k=top_k,
            filter=filter,
            cache=cache,
            limits=limits,
            request_id=request_id,
        )
        with typed_errors():
            reply = await self._asks.Ask(request, timeout=timeout_s or self._timeout_s, metadata=self._metadata)
        return answer_of(reply)

    async def stream(
        self,
        question: str,
        *,
        collection: str = "",
        top_k: int = 0,
        filter: Condition | None = None,
        cache: str = "DEFAULT",
        limits: ask_pb.GenerationLimits | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Ask and read the answer as it is made; arguments as for `ask`. Closing the iterator stops the generation."""
        request = self._ask_request(
            question,
            collection=collection,
            top_k=top_k,
            filter=filter,
            cache=cache,
            limits=limits,
            request_id=request_id,
        )
        call = self._asks.StreamAsk(request, timeout=timeout_s or self._timeout_s, metadata=self._metadata)
        try:
            with typed_errors():
                async for message in call:
                    event = event_of(message)
                    if event is not None:
                        yield event
        finally:
            call.cancel()  # leaving the loop early must stop the model; after the end it does nothing

    async def search(
        self,
        query: str,
        *,
        collection: str = "",
        top_k: int = 0,
        filter: Condition | None = None,
        legs: str = "HYBRID",
        min_generation: int = 0,
        timeout_s: float | None = None,
    ) -> search_pb.RetrieveResponse:
        """The passages for a query, best first, with what each leg said. `legs` is HYBRID, DENSE or LEXICAL."""
        with _fitting_values():
            request = search_pb.RetrieveRequest(
                collection=collection or self._collection,
                query=query,
                top_k=top_k,
                filter=filter.for_retriever() if filter else None,
                legs=search_pb.Legs.Value(f"LEGS_{legs.upper()}"),
                min_generation=min_generation,
            )
        with typed_errors():
            return await self._passages.Retrieve(request, timeout=timeout_s or self._timeout_s, metadata=self._metadata)

    async def ingest(
        self,
        documents: Sequence[DocumentFile] | AsyncIterator[DocumentFile],
        *,
        collection: str = "",
        timeout_s: float = INGEST_TIMEOUT_S,
    ) -> AsyncGenerator[IngestResult, None]:
        """Store documents, of any number and size; one result each, in order. A bad document fails alone."""
        ingest = Ingest(documents, collection or self._collection)
        call = self._documents.IngestDocuments(ingest.requests(), timeout=timeout_s, metadata=self._metadata)
        try:
            with typed_errors():
                async for result in ingest.results(call):
                    yield result
        finally:
            call.cancel()

    async def documents(
        self, *, collection: str = "", filter: Condition | None = None, page_size: int = 1_000
    ) -> AsyncIterator[Document]:
        """Every document the caller may read, by id; pages are fetched as needed."""
        with _fitting_values():
            request = doc_pb.ListDocumentsRequest(
                collection=collection or self._collection,
                page_size=page_size,
                filter=filter.for_retriever() if filter else None,
            )
        while True:
            with typed_errors():
                page = await self._documents.ListDocuments(request, timeout=self._timeout_s, metadata=self._metadata)
            for document in page.documents:
                yield document
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def document(self, document_id: str, *, collection: str = "", with_text: bool = False) -> Document:
        """One document; with its extracted text when `with_text`."""
        with _fitting_values():
            request = doc_pb.GetDocumentRequest(
                collection=collection or self._collection,
                document_id=document_id,
                view=doc_pb.DOCUMENT_VIEW_FULL if with_text else doc_pb.DOCUMENT_VIEW_BASIC,
            )
        with typed_errors():
            return await self._documents.GetDocument(request, timeout=self._timeout_s, metadata=self._metadata)

    async def delete(self, document_id: str, *, collection: str = "") -> int:
        """Delete a document; returns the generation from which it is invisible."""
        with _fitting_values():
            request = doc_pb.DeleteDocumentRequest(collection=collection or self._collection, document_id=document_id)
        with typed_errors():
            reply = await self._documents.DeleteDocument(request, timeout=self._timeout_s, metadata=self._metadata)
        return reply.generation

    async def collections(self) -> AsyncIterator[Collection]:
        """The tenant's collections, by name."""
        request = collection_pb2.ListCollectionsRequest(page_size=1_000)
        while True:
            with typed_errors():
                page = await self._collections.ListCollections(
                    request, timeout=self._timeout_s, metadata=self._metadata
                )
            for collection in page.collections:
                yield collection
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def collection(self, collection: str = "") -> Collection:
        """One collection. Raises CollectionNotFound until its first document is stored."""
        with _fitting_values():
            request = collection_pb2.GetCollectionRequest(collection=collection or self._collection)
        with typed_errors():
            return await self._collections.GetCollection(request, timeout=self._timeout_s, metadata=self._metadata)

    async def delete_collection(self, collection: str) -> None:
        """Remove a collection with all its documents; needs the role "admin"."""
        with _fitting_values():
            request = collection_pb2.DeleteCollectionRequest(collection=collection)
        with typed_errors():
            await self._collections.DeleteCollection(request, timeout=self._timeout_s, metadata=self._metadata)

    async def export_collection(
        self, collection: str, *, timeout_s: float = INGEST_TIMEOUT_S
    ) -> AsyncGenerator[backup_pb2.ExportCollectionResponse, None]:
        """An archive of a collection as it is now, piece by piece: whole once the last one came. Role "operator"."""
        with _fitting_values():
            request = backup_pb2.ExportCollectionRequest(collection=collection)
        call = self._backups.ExportCollection(request, timeout=timeout_s, metadata=self._metadata)
        try:
            with typed_errors():
                async for part in call:
                    yield part
        finally:
            call.cancel()

    async def import_collection(
        self,
        collection: str,
        data: Iterable[bytes],
        *,
        replace: bool = False,
        reembed: bool = False,
        timeout_s: float = INGEST_TIMEOUT_S,
    ) -> AsyncGenerator[backup_pb2.ImportProgress | Collection, None]:
        """Make a collection from an archive: progress, and at last the collection. Role "operator".

        Args:
            collection: Its name.
            data: The archive in pieces of at most 1 MiB; each is taken when the server asks for it.
            replace: Take the place of a collection that exists.
            reembed: Compute the vectors anew.
            timeout_s: Deadline in seconds.
        """
        with _fitting_values():
            target = backup_pb2.ImportTarget(collection=collection, replace=replace, reembed=reembed)
        sending = Import(target, data)
        call = self._backups.ImportCollection(sending.requests(), timeout=timeout_s, metadata=self._metadata)
        try:
            with typed_errors():
                async for result in sending.results(call):
                    yield result
        finally:
            call.cancel()

    async def evict(self, answer_id: str, *, collection: str = "") -> None:
        """Remove a cached answer, so that the next ask is answered afresh."""
        with _fitting_values():
            request = ask_pb.EvictAnswerRequest(collection=collection or self._collection, answer_id=answer_id)
        with typed_errors():
            await self._asks.EvictAnswer(request, timeout=self._timeout_s, metadata=self._metadata)

    def _ask_request(
        self,
        question: str,
        *,
        collection: str,
        top_k: int,
        filter: Condition | None,
        cache: str,
        limits: ask_pb.GenerationLimits | None,
        request_id: str,
    ) -> ask_pb.AskRequest:
        with _fitting_values():
            return ask_pb.AskRequest(
                collection=collection or self._collection,
                question=question,
                top_k=top_k,
                filter=filter.tree if filter else None,
                cache_policy=ask_pb.CachePolicy.Value(f"CACHE_POLICY_{cache.upper()}"),
                limits=limits,
                request_id=request_id,
            )


@contextmanager
def _fitting_values() -> Iterator[None]:
    """Around the making of a message: protobuf's refusals as ours."""
    try:
        yield
    except ValueError as exc:
        raise InvalidRequest(
            "an argument cannot be sent: text must be valid Unicode, numbers and choices in their range"
        ) from exc


@contextmanager
def typed_errors() -> Iterator[None]:
    """Around a call: gRPC's errors as ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise status.from_rpc_error(error, BackendUnavailable) from None  # the cause holds addresses
