"""Writes documents: from a validated source to a committed version. Parser, embedder and committer do the work.

Rule 1: an equal document costs a hash and two reads. Only what changed is parsed, cut and embedded.
Rule 2: nothing is visible before the commit, and what is acknowledged stays. A failed document leaves the one before.
Rule 3: the collection's first document fixes its embedder for good; other vectors never enter it.
Rule 4: memory is bounded: by bytes of documents worked on, and by bulk embeddings at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final, Protocol

import numpy as np

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, DocumentEmpty, DocumentTooLarge, EmbedderUnavailable
from chassis.identity import Identity
from embedding.ports import Embedder, FloatArray, TokenSpans
from retriever import filters
from retriever.documents import ChunkDraft, DocumentSource, ParsedDocument
from retriever.ingest.chunking import CHUNKER_VERSION, chunk
from retriever.ingest.commit import PreparedDocument, utc_now
from retriever.ingest.gate import ByteGate
from retriever.ingest.hashing import derived_hash, source_hash
from retriever.ingest.parsing import PARSER_VERSION
from retriever.ingest.uploads import Upload
from retriever.ports import CollectionHeads
from retriever.types import CollectionHead, DocumentRecord, Outcome, PutResult, Snapshot

EMBED_BATCH: Final = 64  # about a second of work: after it another document, or a cancellation, gets its turn
VERSIONS: Final = (PARSER_VERSION, CHUNKER_VERSION)


class DocumentParser(Protocol):
    """retriever.ingest.parsing.Parser, as the writer sees it."""

    async def parse(self, source: DocumentSource, *, budget: Budget) -> ParsedDocument:
        """The document's text and structure. Raises the DocumentError that fits, or DeadlineExceeded."""
        ...


class Commits(Protocol):
    """retriever.ingest.commit.Committer, as the writer sees it."""

    async def put(self, tenant: str, collection: str, document: PreparedDocument, *, budget: Budget) -> PutResult: ...

    async def delete(self, tenant: str, collection: str, document_id: str, *, budget: Budget) -> int: ...

    async def drop_collection(self, tenant: str, collection: str, *, budget: Budget) -> None: ...


class Catalogue(Protocol):
    """retriever.ports.DocumentRecords, as the writer sees it."""

    async def visible(
        self, tenant: str, snapshot: Snapshot, document_ids: Sequence[str], *, budget: Budget
    ) -> Mapping[str, DocumentRecord]: ...


@dataclass(frozen=True, slots=True)
class WriterTools:
    """What the writer works with. No embedder: new collections are lexical only."""

    heads: CollectionHeads
    records: Catalogue
    parser: DocumentParser
    committer: Commits
    embedder: Embedder | None = None
    tokens: TokenSpans | None = None


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """What a writer takes on.

    Attributes:
        max_document_bytes: As sent.
        bytes_in_flight: Over all documents worked on at the same time.
        embedding_calls: Bulk calls of the embedder at the same time. In process one is all there is to have: a second
            would stand in the way of queries. A model server joins the chunks of several into its batches.
    """

    max_document_bytes: int = 32 << 20
    bytes_in_flight: int = 64 << 20
    embedding_calls: int = 1


class DocumentWriter:
    """Puts and deletes documents.

    Args:
        tools: What it works with.
        limits: What it accepts.
        now: Wall time, for the records.
    """

    def __init__(
        self,
        tools: WriterTools,
        limits: WriterLimits,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tools = tools
        self._limits = limits
        self._now = now
        self._gate = ByteGate(limits.bytes_in_flight)
        self._embedding = asyncio.Semaphore(limits.embedding_calls)

    async def put(self, identity: Identity, collection: str, source: DocumentSource, budget: Budget) -> PutResult:
        """Store a document, replacing the one with its id; returns once it is durable and visible.

        Args:
            identity: The writer; its role was checked by the service.
            collection: Created when this is its first document.
            source: With fields in range (retriever.wire checks them).
            budget: For all of it.
        Raises:
            DocumentError: what is wrong with the file.
            MetadataConflict: a value has another type than its field.
            EmbedderUnavailable: the collection's embedder is not here.
            StorageFull, CatalogueUnavailable, Conflict, DeadlineExceeded.
        """
        return await self.put_upload(identity, collection, Upload(0, source), budget)

    async def put_upload(self, identity: Identity, collection: str, upload: Upload, budget: Budget) -> PutResult:
        """`put` for a document whose content may still be on disk: it is loaded when there is room for it."""
        try:
            self._check_size(upload.size)
            async with self._gate.hold(upload.size, budget):
                source = await asyncio.to_thread(upload.load) if upload.spool else upload.source
                return await self._put(identity, collection, source, budget)
        finally:
            upload.close()

    async def _put(self, identity: Identity, collection: str, source: DocumentSource, budget: Budget) -> PutResult:
        head = await self._tools.heads.get(identity.tenant, collection, budget=budget)
        if head is not None and head.snapshot.generation == 0:
            head = None  # no document of it was ever committed: nothing is fixed yet
        fingerprint = self._fingerprint_for(head)
        origin = await asyncio.to_thread(source_hash, source)
        digest = derived_hash(origin, versions=VERSIONS, embedder_fingerprint=fingerprint)
        if head is not None:
            unchanged = await self._unchanged(head, source, digest, budget)
            if unchanged is not None:
                return unchanged
            filters.check_metadata(source.metadata, head.fields)
        document = await self._prepared(source, (origin, digest), fingerprint, budget)
        return await self._tools.committer.put(identity.tenant, collection, document, budget=budget)

    async def delete(self, identity: Identity, collection: str, document_id: str, budget: Budget) -> int:
        """Remove a document; returns the generation from which it is invisible.

        Raises:
            CollectionNotFound, DocumentNotFound, CatalogueUnavailable, Conflict, DeadlineExceeded.
        """
        return await self._tools.committer.delete(identity.tenant, collection, document_id, budget=budget)

    async def drop_collection(self, identity: Identity, collection: str, budget: Budget) -> None:
        """Remove a collection with everything in it. Raises CollectionNotFound, CatalogueUnavailable."""
        await self._tools.committer.drop_collection(identity.tenant, collection, budget=budget)

    def _check_size(self, size: int) -> None:
        if not size:
            raise DocumentEmpty("the document is empty: send its content")
        if size > self._limits.max_document_bytes:
            limit = self._limits.max_document_bytes
            raise DocumentTooLarge(
                f"the document has {size} bytes, at most {limit} are allowed: split it",
                metadata={"max_bytes": str(limit)},
            )

    def _fingerprint_for(self, head: CollectionHead | None) -> str:
        """The embedder a document of this collection must be embedded with; "" for none."""
        ours = self._tools.embedder.fingerprint if self._tools.embedder else ""
        if head is None or head.embedder_fingerprint in {"", ours}:
            return ours if head is None else head.embedder_fingerprint
        raise EmbedderUnavailable(
            "the collection was made with another embedder than the one here: start that one, or make a new collection",
            metadata={"collection": head.name},
        )

    async def _unchanged(
        self, head: CollectionHead, source: DocumentSource, digest: str, budget: Budget
    ) -> PutResult | None:
        visible = await self._tools.records.visible(head.tenant, head.snapshot, [source.document_id], budget=budget)
        record = visible.get(source.document_id)
        if record is None or record.content_hash != digest:
            return None
        return PutResult(Outcome.UNCHANGED, head.snapshot.generation, record)

    async def _prepared(
        self, source: DocumentSource, hashes: tuple[str, str], fingerprint: str, budget: Budget
    ) -> PreparedDocument:
        """Parse, cut and embed."""
        parsed = await self._tools.parser.parse(source, budget=budget)
        title = source.title or parsed.title
        budget.check("chunking")
        # The chunks know a real title only: a file's name in front of each of them would be noise to the embedder.
        drafts = await asyncio.to_thread(chunk, parsed, title=title, tokens=self._tools.tokens)
        if not drafts:
            raise DocumentEmpty("the document has no text: a scan needs OCR first")
        vectors = await self._vectors(drafts, budget) if fingerprint else None
        record = self._record(source, parsed, title=title, hashes=hashes, chunk_count=len(drafts))
        return PreparedDocument(record, parsed.text, drafts, vectors, fingerprint, blocks=parsed.blocks)

    async def _vectors(self, drafts: Sequence[ChunkDraft], budget: Budget) -> FloatArray:
        """One row per chunk, a batch at a time so that documents take turns."""
        embedder = self._tools.embedder
        assert embedder is not None, "a fingerprint without an embedder was refused before"
        rows: list[FloatArray] = []
        texts = [draft.embed_text for draft in drafts]
        try:
            async with asyncio.timeout(budget.remaining_s()):
                for first in range(0, len(texts), EMBED_BATCH):
                    async with self._embedding:
                        rows.append(await embedder.embed(texts[first : first + EMBED_BATCH], budget=budget))
        except TimeoutError as exc:
            raise DeadlineExceeded("embedding: the deadline passed: allow more time for a document this long") from exc
        return np.concatenate(rows)

    def _record(
        self, source: DocumentSource, parsed: ParsedDocument, *, title: str, hashes: tuple[str, str], chunk_count: int
    ) -> DocumentRecord:
        return DocumentRecord(
            document_id=source.document_id,
            version=0,  # the transaction gives it one
            title=title or PurePosixPath(source.document_id).name,
            uri=source.uri,
            source=source.source,
            content_type=parsed.content_type,
            metadata=source.metadata,
            groups=source.groups,
            content_hash=hashes[1],
            chunk_count=chunk_count,
            text_chars=len(parsed.text),
            size_bytes=len(source.data),
            updated_at=self._now(),
            source_hash=hashes[0],
        )
