"""Exports a collection: one snapshot, read page by page while writes go on.

Rule 1: the snapshot is read under a pin, so that what it sees stays while the export lasts (retriever.ingest.pins).
Rule 2: a pin is no promise. Every document's chunks and text are counted against its record, and all documents against
        what the snapshot had at the start: an archive that lacks something is never ended.
Rule 3: memory is bounded by one read: MAX_READ_CHUNKS chunks of one or more documents, or one long document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from chassis.budget import Budget
from chassis.errors import CollectionNotFound, Conflict, DocumentNotFound, EmbedderMismatch
from embedding.ports import FloatArray
from retriever.backup.archive import ArchivedDocument, ArchiveHeader, ArchiveWriter
from retriever.documents import TextBlock
from retriever.ingest.pins import ReadPins
from retriever.ports import MAX_READ_CHUNKS, ChunkReader, CollectionHeads
from retriever.types import Chunk, CollectionHead, DocumentRecord, Snapshot

PAGE: Final = 200  # records read at a time: some 100 KiB, unless they have large metadata
RUN_CHARS: Final = 4_000_000  # of texts read for one run of documents; a longer document is a run of its own
PART_BYTES: Final = 512 << 10  # of the archive handed on at a time
STEP_S: Final = 60.0  # one page or one run; each takes milliseconds where the stores are well


class Records(Protocol):
    """retriever.ports.DocumentRecords, RecordSurvey and upkeep's RecordAudit, as an export sees them."""

    async def all(
        self, tenant: str, snapshot: Snapshot, *, after: str, limit: int, budget: Budget
    ) -> tuple[list[DocumentRecord], int]: ...

    async def text(self, tenant: str, uid: str, version: int, *, budget: Budget) -> str: ...

    async def blocks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> tuple[TextBlock, ...] | None: ...


@dataclass(frozen=True, slots=True)
class ExportSources:
    """What is read from. Chunks come with their vectors from `dense`, without from `lexical`."""

    heads: CollectionHeads
    records: Records
    dense: ChunkReader
    lexical: ChunkReader


@dataclass(frozen=True, slots=True)
class ExportPart:
    """The archive's next bytes, how many documents it holds up to here, and how many it will."""

    data: bytes
    document_count: int
    document_total: int


class Exporter:
    """Exports collections.

    Args:
        sources: What is read from.
        pins: Keep the janitor away meanwhile.
        embedder_fingerprint: Whose vectors the dense store hands out; "" for none.
        page: Records read at a time.
        part_bytes: Of the archive handed on at a time.
    """

    def __init__(
        self,
        sources: ExportSources,
        pins: ReadPins,
        *,
        embedder_fingerprint: str,
        page: int = PAGE,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._page = page
        self._part_bytes = part_bytes
        self._sources = sources
        self._pins = pins
        self._embedder_fingerprint = embedder_fingerprint

    async def export(self, tenant: str, name: str, *, budget: Budget) -> AsyncGenerator[ExportPart, None]:
        """The archive, part by part; it is whole when the last one was taken.

        Raises:
            CollectionNotFound, EmbedderMismatch: nothing was read.
            Conflict: the collection was deleted, replaced, or purged faster than it was read: try again.
            CatalogueUnavailable, SearchUnavailable, DeadlineExceeded.
        """
        uid = (await self._head(tenant, name, budget)).snapshot.uid
        async with self._pins.held(uid, budget=budget.within(STEP_S)):
            head = await self._head(tenant, name, budget)
            if head.snapshot.uid != uid:
                raise _passed()
            async with aclosing(self._parts(head, budget)) as parts:
                async for part in parts:
                    yield part

    async def _head(self, tenant: str, name: str, budget: Budget) -> CollectionHead:
        head = await self._sources.heads.get(tenant, name, budget=budget.within(STEP_S))
        if head is None or head.snapshot.generation == 0:
            raise CollectionNotFound(f"there is no collection {name!r}", metadata={"collection": name})
        if head.embedder_fingerprint not in {"", self._embedder_fingerprint}:
            raise EmbedderMismatch(
                "the collection's vectors are of another embedder than this server's: export it where that one runs, "
                "or `askmesh collections reindex` it first",
                metadata={"collection": name},
            )
        return head

    async def _parts(self, head: CollectionHead, budget: Budget) -> AsyncGenerator[ExportPart, None]:
        """The archive's lines, in parts of equal size."""
        pending = bytearray()
        done = total = 0
        async for line, done, total in self._lines(head, budget):  # the last one's counts are the whole's
            pending += line
            while len(pending) >= self._part_bytes:
                yield ExportPart(bytes(pending[: self._part_bytes]), done, total)
                del pending[: self._part_bytes]
        yield ExportPart(bytes(pending), done, total)

    async def _lines(self, head: CollectionHead, budget: Budget) -> AsyncIterator[tuple[bytes, int, int]]:
        """Header, documents and end; with each line how many documents are done, and of how many."""
        writer, done, total = ArchiveWriter(), 0, 0
        async for records, total in self._pages(head, budget):
            if not done:
                yield writer.header(_header(head, total, await self._dim(head, records, budget))), done, total
            for run in _runs(records):
                for document in await self._read(head, run, budget.within(STEP_S)):
                    for line in writer.document(document):
                        yield line, done, total
                    done += 1
        if done != total:
            raise _passed()
        await self._still(head, budget)
        if not total:
            yield writer.header(_header(head, 0, 0)), 0, 0
        yield writer.end(), done, total

    async def _pages(self, head: CollectionHead, budget: Budget) -> AsyncIterator[tuple[list[DocumentRecord], int]]:
        """All records by id, and how many there were at the start."""
        after, total = "", -1
        while True:
            step = budget.within(STEP_S)
            records, now = await self._sources.records.all(
                head.tenant, head.snapshot, after=after, limit=self._page, budget=step
            )
            total = now if total < 0 else total
            if not records:
                return
            yield records, total
            after = records[-1].document_id

    async def _read(
        self, head: CollectionHead, run: Sequence[DocumentRecord], budget: Budget
    ) -> list[ArchivedDocument]:
        """The documents of one run with all that belongs to them."""
        tenant, uid = head.tenant, head.snapshot.uid
        chunks, vectors = await self._chunks(head, run, budget)
        records = self._sources.records
        try:
            async with asyncio.TaskGroup() as group:
                texts = [group.create_task(records.text(tenant, uid, each.version, budget=budget)) for each in run]
                blocks = [group.create_task(records.blocks(tenant, uid, each.version, budget=budget)) for each in run]
        except* DocumentNotFound as gone:
            raise _passed() from gone
        documents, at = [], 0
        for record, text, structure in zip(run, texts, blocks, strict=True):
            part = slice(at, at + record.chunk_count)
            own = vectors[part] if vectors is not None else None
            documents.append(_whole(ArchivedDocument(record, text.result(), chunks[part], own, structure.result())))
            at += record.chunk_count
        return documents

    async def _chunks(
        self, head: CollectionHead, run: Sequence[DocumentRecord], budget: Budget
    ) -> tuple[list[Chunk], FloatArray | None]:
        """The chunks of a run, in its order."""
        reader = self._sources.dense if head.embedder_fingerprint else self._sources.lexical
        most = max(record.chunk_count for record in run)
        chunks: list[Chunk] = []
        vectors: list[FloatArray] = []
        for first in range(0, most, MAX_READ_CHUNKS):
            positions = range(first, min(first + MAX_READ_CHUNKS, most))
            versions = [record.version for record in run]
            found, rows = await reader.read(head.tenant, head.snapshot.uid, versions, positions, budget=budget)
            chunks += found
            vectors += [] if rows is None else [rows]
        place = {record.version: at for at, record in enumerate(run)}
        order = sorted(range(len(chunks)), key=lambda at: (place[chunks[at].version], chunks[at].position))
        return [chunks[at] for at in order], np.concatenate(vectors)[order] if vectors else None

    async def _dim(self, head: CollectionHead, records: Sequence[DocumentRecord], budget: Budget) -> int:
        """The length of the vectors, told from the first one."""
        if not head.embedder_fingerprint:
            return 0
        versions = [records[0].version]
        _, rows = await self._sources.dense.read(
            head.tenant, head.snapshot.uid, versions, range(1), budget=budget.within(STEP_S)
        )
        if rows is None or not len(rows):
            raise _passed()
        return int(rows.shape[1])

    async def _still(self, head: CollectionHead, budget: Budget) -> None:
        now = await self._sources.heads.get(head.tenant, head.name, budget=budget.within(STEP_S))
        if now is None or now.snapshot.uid != head.snapshot.uid:
            raise _passed()


def _runs(records: Sequence[DocumentRecord]) -> Iterator[list[DocumentRecord]]:
    """The records in their order, in runs that are read at once."""
    run: list[DocumentRecord] = []
    chunks = chars = 0
    for record in records:
        chunks, chars = chunks + record.chunk_count, chars + record.text_chars
        if run and (chunks > MAX_READ_CHUNKS or chars > RUN_CHARS):
            yield run
            run, chunks, chars = [], record.chunk_count, record.text_chars
        run.append(record)
    if run:
        yield run


def _whole(document: ArchivedDocument) -> ArchivedDocument:
    """The document, provided that nothing of it is missing."""
    record, text = document.record, document.text
    own = [(chunk.version, chunk.position) for chunk in document.chunks]
    if own != [(record.version, at) for at in range(record.chunk_count)] or len(text) != record.text_chars:
        raise _passed()
    return document


def _header(head: CollectionHead, total: int, dim: int) -> ArchiveHeader:
    return ArchiveHeader(
        collection=head.name,
        generation=head.snapshot.generation,
        embedder_fingerprint=head.embedder_fingerprint if total else "",
        dim=dim,
        fields=head.fields,
        document_count=total,
        created_at=head.created_at,
    )


def _passed() -> Conflict:
    return Conflict("the collection changed faster than it could be exported: try again, or in a quieter hour")
