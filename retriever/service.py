"""The retriever's gRPC services: wire -> domain -> wire, and who may call what. Nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

from rag.retriever.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    document_pb2,
    document_pb2_grpc,
    retriever_pb2,
    retriever_pb2_grpc,
)

from chassis.auth import require
from chassis.budget import Budget
from chassis.context import CallContext, current
from chassis.identity import ROLE_ADMIN, ROLE_ASK, ROLE_INGEST
from retriever.ingest_stream import IngestStream, StreamLimits
from retriever.observed import Retrieves, Writes
from retriever.reading import CatalogueReader
from retriever.types import CollectionHead
from retriever.wire import checks
from retriever.wire.checks import Violations
from retriever.wire.documents import from_put, from_record, from_view, to_whole_source
from retriever.wire.paging import PageTokens
from retriever.wire.retrieval import from_head, from_retrieval, to_query, to_snapshot_request
from retriever.wire.values import to_filter

ServicerContext = Any  # the frame hands everything over through chassis.context


class FillsMirror(Protocol):
    """retriever.ingest.mirrored.MirroredHeads, as this service uses it."""

    async def fill(self, head: CollectionHead, token: str, value: bytes, *, budget: Budget) -> bool: ...


class RetrieverService(retriever_pb2_grpc.RetrieverServiceServicer):
    """Passages for a query."""

    def __init__(
        self, retrieval: Retrieves, reader: CatalogueReader, mirror: FillsMirror, *, default_top_k: int
    ) -> None:
        self._retrieval = retrieval
        self._reader = reader
        self._mirror = mirror
        self._default_top_k = default_top_k

    async def Retrieve(  # noqa: N802  # the contract's name, as are all of this module's
        self,
        request: retriever_pb2.RetrieveRequest,
        _context: ServicerContext,
    ) -> retriever_pb2.RetrieveResponse:
        call = _call(ROLE_ASK)
        query = to_query(request, self._default_top_k)
        retrieval = await self._retrieval.retrieve(call.identity, query, call.budget)
        return from_retrieval(retrieval, self._retrieval.fingerprint)

    async def GetSnapshot(  # noqa: N802
        self,
        request: retriever_pb2.GetSnapshotRequest,
        _context: ServicerContext,
    ) -> retriever_pb2.Snapshot:
        call = _call(ROLE_ASK)
        collection, token, budget = *to_snapshot_request(request), call.budget.less()
        head = await self._reader.head(call.identity, collection, budget)
        reply = from_head(head, self._retrieval.fingerprint)
        if token:
            # What is mirrored is the reply itself: every reader of the contract can read it.
            reply.mirrored = await self._mirror.fill(head, token, reply.SerializeToString(), budget=budget)
        return reply


class DocumentService(document_pb2_grpc.DocumentServiceServicer):
    """Documents in and out."""

    def __init__(
        self, writer: Writes, reader: CatalogueReader, tokens: PageTokens, *, stream_limits: StreamLimits
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._tokens = tokens
        self._stream_limits = stream_limits

    async def PutDocument(  # noqa: N802
        self,
        request: document_pb2.PutDocumentRequest,
        _context: ServicerContext,
    ) -> document_pb2.PutDocumentResponse:
        call = _call(ROLE_INGEST)
        source = to_whole_source(request)
        return from_put(await self._writer.put(call.identity, request.collection, source, call.budget.less()))

    async def GetDocument(  # noqa: N802
        self,
        request: document_pb2.GetDocumentRequest,
        _context: ServicerContext,
    ) -> document_pb2.Document:
        call = _call(ROLE_ASK)
        found = Violations()
        name = checks.collection(request.collection, found)
        document_id = checks.document_id(request.document_id, found)
        if request.view not in document_pb2.DocumentView.values():
            found.add("view", "must be UNSPECIFIED, BASIC or FULL")
        found.check()
        is_full = request.view == document_pb2.DOCUMENT_VIEW_FULL
        record, text = await self._reader.document(
            call.identity, name, document_id, with_text=is_full, budget=call.budget.less()
        )
        return from_record(record, text)

    async def ListDocuments(  # noqa: N802
        self,
        request: document_pb2.ListDocumentsRequest,
        _context: ServicerContext,
    ) -> document_pb2.ListDocumentsResponse:
        call = _call(ROLE_ASK)
        found = Violations()
        name = checks.collection(request.collection, found)
        limit = checks.page_size(request.page_size, found)
        wanted = to_filter(request.filter, found)
        found.check()
        after = self._tokens.read(request, call.identity, request.page_token)
        budget = call.budget.less()
        head = await self._reader.head(call.identity, name, budget)
        page = await self._reader.page(call.identity, head, wanted, after=after, limit=limit, budget=budget)
        following = "" if page.is_last else self._tokens.issue(request, call.identity, page.records[-1].document_id)
        return document_pb2.ListDocumentsResponse(
            documents=[from_record(record) for record in page.records],
            next_page_token=following,
            total_size=page.total,
        )

    async def DeleteDocument(  # noqa: N802
        self,
        request: document_pb2.DeleteDocumentRequest,
        _context: ServicerContext,
    ) -> document_pb2.DeleteDocumentResponse:
        call = _call(ROLE_INGEST)
        found = Violations()
        name = checks.collection(request.collection, found)
        document_id = checks.document_id(request.document_id, found)
        found.check()
        generation = await self._writer.delete(call.identity, name, document_id, call.budget.less())
        return document_pb2.DeleteDocumentResponse(generation=generation)

    async def IngestDocuments(  # noqa: N802
        self,
        request_iterator: AsyncIterator[document_pb2.IngestDocumentsRequest],
        _context: ServicerContext,
    ) -> AsyncGenerator[document_pb2.IngestDocumentsResponse, None]:
        call = _call(ROLE_INGEST)
        stream = IngestStream(
            self._writer,
            call.identity,
            request_id=call.request_id,
            limits=self._stream_limits,
            clock=call.budget.clock,
        )
        async with aclosing(stream.results(request_iterator)) as results:
            async for result in results:
                yield result


class CollectionService(collection_pb2_grpc.CollectionServiceServicer):
    """Collections of the caller's tenant."""

    def __init__(self, writer: Writes, reader: CatalogueReader, tokens: PageTokens) -> None:
        self._writer = writer
        self._reader = reader
        self._tokens = tokens

    async def GetCollection(  # noqa: N802
        self,
        request: collection_pb2.GetCollectionRequest,
        _context: ServicerContext,
    ) -> collection_pb2.Collection:
        call = _call(ROLE_ASK)
        budget = call.budget.less()
        head = await self._reader.head(call.identity, _collection(request.collection), budget)
        return from_view(await self._reader.view(call.identity, head, budget))

    async def ListCollections(  # noqa: N802
        self,
        request: collection_pb2.ListCollectionsRequest,
        _context: ServicerContext,
    ) -> collection_pb2.ListCollectionsResponse:
        call = _call(ROLE_ASK)
        found = Violations()
        limit = checks.page_size(request.page_size, found)
        found.check()
        after = self._tokens.read(request, call.identity, request.page_token)
        views, is_last = await self._reader.collections(
            call.identity, after=after, limit=limit, budget=call.budget.less()
        )
        following = "" if is_last else self._tokens.issue(request, call.identity, views[-1].head.name)
        return collection_pb2.ListCollectionsResponse(
            collections=[from_view(view) for view in views], next_page_token=following
        )

    async def DeleteCollection(  # noqa: N802
        self,
        request: collection_pb2.DeleteCollectionRequest,
        _context: ServicerContext,
    ) -> collection_pb2.DeleteCollectionResponse:
        call = _call(ROLE_ADMIN)
        name = _collection(request.collection)
        await self._writer.drop_collection(call.identity, name, call.budget.less())
        return collection_pb2.DeleteCollectionResponse()


def _call(role: str) -> CallContext:
    """The call being served, its caller's role checked before anything of the request is looked at."""
    call = current()
    require(call.identity, role)
    return call


def _collection(name: str) -> str:
    found = Violations()
    checks.collection(name, found)
    found.check()
    return name
