"""Imports an archive: all of it or nothing, under a uid of its own.

Rule 1: what comes is written beside the collection's visible contents, where nobody sees it (staging.py). Only when the
        archive was whole and its digest right does it become the collection.
Rule 2: memory is bounded by one batch of documents, or one long document.
Rule 3: what was replaced is removed once every read that may still see it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from chassis.budget import Budget
from chassis.errors import (
    ArchiveInvalid,
    BackendUnavailable,
    DeadlineExceeded,
    EmbedderMismatch,
    EmbedderUnavailable,
    SearchUnavailable,
)
from embedding.ports import Embedder, FloatArray
from retriever.backup.archive import ArchivedDocument, ArchiveHeader
from retriever.backup.reading import ArchiveReader
from retriever.backup.staging import STEP_S, Stage, vacant
from retriever.ingest.ledger import new_head
from retriever.ingest.purge import GRACE_S
from retriever.ingest.transactions import Sleep, Stores
from retriever.types import Chunk, CollectionHead, DocumentRecord, version_of

logger = logging.getLogger(__name__)

BATCH_DOCUMENTS: Final = 256  # written under one number; each has an ordinal of 16 bits
BATCH_CHUNKS: Final = 1_000  # a second's indexing
BATCH_CHARS: Final = 4_000_000
EMBED_BATCH: Final = 64  # as of an ingest
CLEANUP_S: Final = 60.0  # what an import left is removed in this time, or by the janitor


@dataclass(frozen=True, slots=True)
class Imported:
    """The head of what was made, and how much it holds."""

    head: CollectionHead
    document_count: int
    chunk_count: int


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """See backup.proto."""

    collection: str
    replace: bool = False
    reembed: bool = False


class Importer:
    """Imports archives.

    Args:
        stores: Where they go.
        embedder: Whose vectors the dense store takes; None: lexical only.
        owner: This process.
        now: The wall clock, for the head.
        settle: Told tenant and name before what was made is acknowledged (MirroredHeads.settle).
        sleep, grace_s: How long what was replaced may still be read.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        embedder: Embedder | None,
        owner: str,
        now: Callable[[], datetime],
        settle: Callable[[str, str], Awaitable[None]] | None = None,
        sleep: Sleep = asyncio.sleep,
        grace_s: float = GRACE_S,
    ) -> None:
        self._stores = stores
        self._embedder = embedder
        self._owner = owner
        self._now = now
        self._settle = settle
        self._sleep = sleep
        self._grace_s = grace_s

    async def run(
        self,
        tenant: str,
        target: ImportTarget,
        data: AsyncIterator[bytes],
        *,
        budget: Budget,
        report: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Imported:
        """Read the archive and make the collection; `report` is told of how many documents how many are stored.

        Raises:
            CollectionExists, EmbedderMismatch, ArchiveInvalid, Conflict: nothing was changed.
            And what the stores raise: neither was then.
        """
        await vacant(self._stores.heads, tenant, target.collection, is_replacing=target.replace, budget=budget)
        reader = ArchiveReader()
        first = await self._first(reader, data)
        assert reader.header is not None, "the first line is the header"
        contents = self._contents(tenant, target, reader.header)
        stage = Stage(self._stores, contents, owner=self._owner, is_replacing=target.replace, now=self._now)
        async with stage.held(budget):
            number = done = 0
            async for batch in _batches(_documents(reader, first, data)):
                number += 1
                await self._store(contents, number, batch, target, budget=budget)
                done += len(batch)
                report(done, reader.header.document_count)
            reader.finish()
            made, replaced = await stage.flip(number, budget=budget)
        if self._settle is not None:
            await self._settle(tenant, target.collection)
        await self._remove(tenant, replaced, budget)
        return Imported(made, reader.document_count, reader.chunk_count)

    async def _first(self, reader: ArchiveReader, data: AsyncIterator[bytes]) -> list[ArchivedDocument]:
        """Read until the header is there; the documents that came with it."""
        found: list[ArchivedDocument] = []
        async for part in data:
            found += await asyncio.to_thread(reader.feed, part)
            if reader.header is not None:
                return found
        reader.finish()
        raise ArchiveInvalid("the archive is not valid: it is empty", metadata={"line": "0"})

    def _contents(self, tenant: str, target: ImportTarget, header: ArchiveHeader) -> CollectionHead:
        """The head that the archive's documents will have. Raises EmbedderMismatch."""
        own = self._embedder.fingerprint if self._embedder else ""
        if target.reembed and not own:
            raise EmbedderUnavailable("there is no embedder to compute the vectors with: start one")
        fingerprint = own if target.reembed else header.embedder_fingerprint
        if fingerprint not in {"", own}:
            raise EmbedderMismatch(
                "the archive's vectors are of another embedder than this server's: start that one, import with "
                "re-embedding, or import there and `askmesh collections reindex`"
            )
        if fingerprint and not target.reembed and self._embedder and header.dim != self._embedder.dim:
            raise ArchiveInvalid("the archive is not valid: its vectors have another length", metadata={"line": "1"})
        head = new_head(
            tenant, target.collection, uid=uuid.uuid4().hex, embedder_fingerprint=fingerprint, now=self._now()
        )
        snapshot = replace(head.snapshot, generation=max(1, header.generation))
        return replace(head, fields=dict(header.fields), created_at=header.created_at, snapshot=snapshot)

    async def _store(
        self,
        contents: CollectionHead,
        number: int,
        batch: Sequence[ArchivedDocument],
        target: ImportTarget,
        *,
        budget: Budget,
    ) -> None:
        """One batch under its number into catalogue and stores; both must hold all of it."""
        tenant, uid = contents.tenant, contents.snapshot.uid
        vectors = await self._vectors(target, batch, budget) if contents.embedder_fingerprint else None
        step = budget.within(STEP_S)
        documents = [_numbered(each, version_of(number, ordinal)) for ordinal, each in enumerate(batch)]
        texts = [(record, each.text) for (record, _), each in zip(documents, batch, strict=True)]
        stores = [self._stores.lexical] + [self._stores.dense] * (vectors is not None)
        await self._stores.records.put(tenant, uid, texts, budget=step, blocks=[each.blocks for each in batch])
        for store in stores:
            await store.write(tenant, uid, documents, vectors, budget=step)
        count = sum(len(chunks) for _, chunks in documents)
        for store in stores:
            if await store.seal(tenant, uid, number, budget=step) != count:
                raise SearchUnavailable("the stores do not hold all that was written: try again", retry_after_s=1.0)

    async def _vectors(self, target: ImportTarget, batch: Sequence[ArchivedDocument], budget: Budget) -> FloatArray:
        """The archive's own vectors, or new ones."""
        if not target.reembed:
            return np.concatenate([each.vectors for each in batch if each.vectors is not None])
        assert self._embedder is not None, "refused before"
        texts = [chunk.embed_text for each in batch for chunk in each.chunks]
        rows = [
            await self._embedder.embed(texts[first : first + EMBED_BATCH], budget=budget.within(STEP_S))
            for first in range(0, len(texts), EMBED_BATCH)
        ]
        return np.concatenate(rows)

    async def _remove(self, tenant: str, uids: Sequence[str], budget: Budget) -> None:
        """Remove what was replaced, once nobody reads it; a failure leaves it to the next start."""
        if not uids:
            return
        await self._sleep(self._grace_s)
        for uid in uids:
            try:
                await self._stores.drop(tenant, uid, budget=Budget.of(CLEANUP_S, budget.clock))
            except (BackendUnavailable, DeadlineExceeded) as exc:
                logger.warning("what an import replaced was not removed", extra={"reason": exc.reason})


async def _documents(
    reader: ArchiveReader, first: list[ArchivedDocument], data: AsyncIterator[bytes]
) -> AsyncIterator[list[ArchivedDocument]]:
    yield first
    async for part in data:
        yield await asyncio.to_thread(reader.feed, part)


async def _batches(found: AsyncIterator[list[ArchivedDocument]]) -> AsyncIterator[list[ArchivedDocument]]:
    """The documents in their order, as many as are written at once."""
    batch: list[ArchivedDocument] = []
    chunks = chars = 0
    async for documents in found:
        for document in documents:
            batch.append(document)
            chunks, chars = chunks + len(document.chunks), chars + len(document.text)
            if len(batch) >= BATCH_DOCUMENTS or chunks >= BATCH_CHUNKS or chars >= BATCH_CHARS:
                yield batch
                batch, chunks, chars = [], 0, 0
    if batch:
        yield batch


def _numbered(document: ArchivedDocument, version: int) -> tuple[DocumentRecord, Sequence[Chunk]]:
    """The document as it is stored under its version."""
    chunks = [replace(chunk, version=version, chunk_id=f"{version:x}.{chunk.position}") for chunk in document.chunks]
    return replace(document.record, version=version), chunks
