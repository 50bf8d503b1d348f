"""Reads documents and collections from the catalogue, as their caller may see them.

Rule 1: a snapshot that is not current is refused here: what a write acknowledged is seen by every read after it.
Rule 2: a document the caller may not read does not exist for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, DocumentNotFound
from chassis.identity import Identity
from retriever import filters
from retriever.ingest.snapshots import SnapshotReader
from retriever.ports import CollectionHeads, DocumentRecords
from retriever.types import EVERYTHING, CollectionHead, DocumentRecord, Filter, Scope

RETRY_AFTER_S = 1.0  # a breaker's shortest open time
# At 4 bytes a character a page stays within the 4 MiB that a gRPC client takes unless told otherwise.
MAX_PAGE_CHARS = 900_000
PAGE_BATCH = 100  # read at once: a record may have 100,000 characters of groups and metadata


@dataclass(frozen=True, slots=True)
class CollectionView:
    """A collection and how much of it the caller may read."""

    head: CollectionHead
    document_count: int
    chunk_count: int


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Documents by id; `is_last` when none follow."""

    records: tuple[DocumentRecord, ...]
    total: int
    is_last: bool


class CatalogueReader:
    """The read side of DocumentService and CollectionService.

    Args:
        snapshots: Where a collection's head is read.
        heads: For listing them.
        records: The documents.
    """

    def __init__(self, *, snapshots: SnapshotReader, heads: CollectionHeads, records: DocumentRecords) -> None:
        self._snapshots = snapshots
        self._heads = heads
        self._records = records

    async def head(self, identity: Identity, collection: str, budget: Budget) -> CollectionHead:
        """The collection as of now.

        Raises:
            CollectionNotFound, DeadlineExceeded.
            CatalogueUnavailable: also when only an older snapshot is known.
        """
        reading = await self._snapshots.head(identity.tenant, collection, budget=budget)
        if reading.is_stale:
            raise CatalogueUnavailable("the catalogue does not answer: try again", retry_after_s=RETRY_AFTER_S)
        return reading.head

    async def document(
        self, identity: Identity, collection: str, document_id: str, *, with_text: bool, budget: Budget
    ) -> tuple[DocumentRecord, str]:
        """One document the caller may read, and its extracted text ("" unless asked for).

        Raises:
            CollectionNotFound, DocumentNotFound, CatalogueUnavailable, DeadlineExceeded.
        """
        head = await self.head(identity, collection, budget)
        found = await self._records.visible(identity.tenant, head.snapshot, [document_id], budget=budget)
        record = found.get(document_id)
        if record is None or set(record.groups).isdisjoint(identity.readable_groups):
            raise DocumentNotFound(
                "no such document, or none you may read: list the collection's documents",
                metadata={"document": document_id},
            )
        if not with_text:
            return record, ""
        uid = head.snapshot.uid
        return record, await self._records.text(identity.tenant, uid, record.version, budget=budget)

    async def page(
        self, identity: Identity, head: CollectionHead, filter: Filter, *, after: str, limit: int, budget: Budget
    ) -> DocumentPage:
        """The documents behind `after`, by id: `limit`, or fewer where they are large (AIP-158 allows it).

        Raises:
            FilterInvalid: for unknown fields and those of chunks.
        """
        filters.validate(filter, head.fields, chunk_fields=False)
        scope = Scope(identity.tenant, head.snapshot, identity.readable_groups, filter, head.fields)
        records: list[DocumentRecord] = []
        room = MAX_PAGE_CHARS
        while True:
            batch = min(limit - len(records), PAGE_BATCH)
            found, total = await self._records.page(scope, after=after, limit=batch + 1, budget=budget)
            for record in found[:batch]:
                room -= _chars(record)
                if room < 0 and records:
                    return DocumentPage(tuple(records), total, is_last=False)
                records.append(record)
            if len(found) <= batch or len(records) >= limit:
                return DocumentPage(tuple(records), total, is_last=len(found) <= batch)
            after = records[-1].document_id

    async def view(self, identity: Identity, head: CollectionHead, budget: Budget) -> CollectionView:
        """A collection with its counts."""
        scope = Scope(identity.tenant, head.snapshot, identity.readable_groups, EVERYTHING, head.fields)
        documents, chunks = await self._records.count(scope, budget=budget)
        return CollectionView(head, documents, chunks)

    async def collections(
        self, identity: Identity, *, after: str, limit: int, budget: Budget
    ) -> tuple[list[CollectionView], bool]:
        """The tenant's collections behind `after`, by name, and whether they are the last ones."""
        heads = await self._heads.list(identity.tenant, after=after, limit=limit + 1, budget=budget)
        return [await self.view(identity, head, budget) for head in heads[:limit]], len(heads) <= limit


def _chars(record: DocumentRecord) -> int:
    """About how many characters a record has on the wire."""
    texts = (record.document_id, record.title, record.uri, record.source, *record.groups, *record.metadata)
    values = (value for value in record.metadata.values() if isinstance(value, str))
    return sum(map(len, texts)) + sum(map(len, values))
