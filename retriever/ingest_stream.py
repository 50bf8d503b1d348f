"""IngestDocuments: puts a stream's messages together to documents, stores several at once, answers in order.

Rule 1: a bad document fails alone, with a result of its own; the stream goes on. Only one that cannot be understood (no
        collection, bytes that are no message) ends, after the results of everything before.
Rule 2: back-pressure is not reading: a bounded number of documents is in work, and no message is read beyond them.
Rule 3: when the stream ends early, so does all of its work; what was committed before stays.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from rag.retriever.v1 import document_pb2 as pb

from chassis import status
from chassis.budget import Budget, Clock
from chassis.errors import DocumentDuplicated, InvalidRequest, RagError
from chassis.identity import Identity
from retriever.ingest.uploads import Spool, Upload
from retriever.types import PutResult
from retriever.wire import checks
from retriever.wire.checks import Violations
from retriever.wire.documents import MAX_PART_BYTES, from_ingested, to_source

ID_DIGEST_BYTES = 16  # ids seen are kept as digests: a million documents cost 16 MB and not half a gigabyte


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that failed before there was anything to store."""

    index: int
    document_id: str
    error: RagError


class Assembly:
    """Messages in, documents out: a state machine without I/O but the spool's (blocking, in parts only).

    Args:
        max_document_bytes: Most a document may have, over all its parts.
    """

    def __init__(self, max_document_bytes: int) -> None:
        self._max_bytes = max_document_bytes
        self._seen: set[bytes] = set()
        self._count = 0
        self._open: Upload | None = None
        self._is_skipping = False  # parts of a document that has failed already
        self.collection = ""

    def feed(self, request: pb.IngestDocumentsRequest) -> list[Upload | Refusal]:
        """What this message completed or spoilt. Raises InvalidRequest when the first one names no collection."""
        if not self.collection:
            found = Violations()
            name = checks.collection(request.collection, found)
            found.check()
            self.collection = name
        match request.WhichOneof("item"):
            case "document":
                return [*self._abandoned("the next document began before its last part"), *self._begun(request)]
            case "part":
                return list(self._continued(request))
            case _:
                return list(self._orphan("item", "must hold a document or a part of one"))

    def end(self) -> list[Upload | Refusal]:
        """What the end of the stream spoilt."""
        return list(self._abandoned("the stream ended before its last part"))

    def close(self) -> None:
        """Give up what is open."""
        if self._open is not None:
            self._open.close()

    def _begun(self, request: pb.IngestDocumentsRequest) -> Iterator[Upload | Refusal]:
        message = request.document
        index, self._count = self._count, self._count + 1
        self._is_skipping = message.has_parts
        found = Violations()
        self._check_collection(request, found)
        if message.WhichOneof("content") is None and not message.has_parts:
            found.add("document.content", "one of text and data is required")
        source = to_source(message, found)
        try:
            found.check()
            self._check_new(source.document_id)
            if not message.has_parts:
                yield Upload(index, source)
                return
            spool = Spool(self._max_bytes)
            self._open = Upload(index, replace(source, data=b""), spool)
            self._is_skipping = False
            spool.append(source.data)
        except RagError as error:
            yield from self._failed(error) if self._open else [Refusal(index, message.document_id, error)]

    def _continued(self, request: pb.IngestDocumentsRequest) -> Iterator[Upload | Refusal]:
        part = request.part
        upload = self._open
        if upload is None or upload.spool is None:
            yield from self._orphan("part", "no document is open: send the document first, with has_parts")
            return
        found = Violations()
        self._check_collection(request, found)
        if len(part.data) > MAX_PART_BYTES:
            found.add("part.data", f"must have at most {MAX_PART_BYTES} bytes, not {len(part.data)}")
        try:
            found.check()
            upload.spool.append(part.data)
        except RagError as error:
            yield from self._failed(error)
            self._is_skipping = not part.is_last
            return
        if part.is_last:
            self._open = None
            yield upload

    def _orphan(self, field: str, description: str) -> Iterator[Refusal]:
        """A message that belongs to no document takes a position of its own, once until the next document."""
        if self._is_skipping:
            return
        self._is_skipping = True
        index, self._count = self._count, self._count + 1
        yield Refusal(index, "", InvalidRequest.field(field, description))

    def _abandoned(self, why: str) -> Iterator[Refusal]:
        if self._open is not None:
            yield from self._failed(InvalidRequest.field("part.is_last", why))

    def _failed(self, error: RagError) -> Iterator[Refusal]:
        assert self._open is not None, "only an open document fails so"
        upload, self._open = self._open, None
        upload.close()
        self._is_skipping = True
        yield Refusal(upload.index, upload.document_id, error)

    def _check_collection(self, request: pb.IngestDocumentsRequest, found: Violations) -> None:
        if request.collection and request.collection != self.collection:
            found.add("collection", "must be the one of the stream's first message: use another stream")

    def _check_new(self, document_id: str) -> None:
        digest = hashlib.blake2b(document_id.encode(), digest_size=ID_DIGEST_BYTES).digest()
        if digest in self._seen:
            raise DocumentDuplicated(
                "this document id came before in the stream: send each document once",
                metadata={"document": document_id},
            )
        self._seen.add(digest)


class Stores(Protocol):
    """retriever.ingest.documents.DocumentWriter, as the stream sees it."""

    async def put_upload(self, identity: Identity, collection: str, upload: Upload, budget: Budget) -> PutResult: ...


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Attributes: in_flight: documents worked on at once. document_timeout_s: for each of them."""

    in_flight: int = 8
    document_timeout_s: float = 300.0
    max_document_bytes: int = 32 << 20


class IngestStream:
    """One call of IngestDocuments.

    Args:
        writer: Stores the documents.
        identity: Of the caller.
        request_id: Of the call, for the errors of its documents.
        limits: See StreamLimits.
        clock: Of the call's budget.
    """

    def __init__(
        self, writer: Stores, identity: Identity, *, request_id: str, limits: StreamLimits, clock: Clock
    ) -> None:
        self._writer = writer
        self._identity = identity
        self._request_id = request_id
        self._limits = limits
        self._clock = clock
        self._assembly = Assembly(limits.max_document_bytes)
        self._places = asyncio.Semaphore(limits.in_flight)
        self._work: asyncio.Queue[asyncio.Task[pb.IngestDocumentsResponse] | None] = asyncio.Queue()
        self._running: set[asyncio.Task[pb.IngestDocumentsResponse]] = set()

    async def results(
        self, requests: AsyncIterator[pb.IngestDocumentsRequest]
    ) -> AsyncGenerator[pb.IngestDocumentsResponse, None]:
        """One result per document, in the order they were sent."""
        reader = asyncio.create_task(self._read(requests))
        try:
            while (task := await self._work.get()) is not None:
                yield await task
                self._running.discard(task)
                self._places.release()
            await reader  # raises what ended the stream, once everything before it was answered
        finally:
            await _ended([reader, *self._running])
            self._assembly.close()

    async def _read(self, requests: AsyncIterator[pb.IngestDocumentsRequest]) -> None:
        try:
            async for request in requests:
                # A part may go to disk; a whole document never does.
                found = (
                    await asyncio.to_thread(self._assembly.feed, request)
                    if request.HasField("part")
                    else self._assembly.feed(request)
                )
                await self._begin(found)
            await self._begin(self._assembly.end())
        finally:
            self._work.put_nowait(None)

    async def _begin(self, found: list[Upload | Refusal]) -> None:
        for each in found:
            await self._places.acquire()
            task = asyncio.create_task(self._result(each))
            self._running.add(task)
            self._work.put_nowait(task)

    async def _result(self, each: Upload | Refusal) -> pb.IngestDocumentsResponse:
        if isinstance(each, Refusal):
            return self._refused(each)
        budget = Budget.of(self._limits.document_timeout_s, self._clock)
        try:
            result = await self._writer.put_upload(self._identity, self._assembly.collection, each, budget)
        except RagError as error:
            return self._refused(Refusal(each.index, each.document_id, error))
        return from_ingested(each, result)

    def _refused(self, refusal: Refusal) -> pb.IngestDocumentsResponse:
        return pb.IngestDocumentsResponse(
            index=refusal.index,
            document_id=refusal.document_id,
            outcome=pb.INGEST_OUTCOME_FAILED,
            error=status.to_rpc_status(refusal.error, self._request_id),
        )


async def _ended(tasks: list[asyncio.Task[pb.IngestDocumentsResponse] | asyncio.Task[None]]) -> None:
    """Cancel what still runs and wait for its end, so that nothing of a call outlives it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
