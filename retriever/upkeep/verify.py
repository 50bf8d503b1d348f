"""Compares a collection's catalogue with its stores while it is used, and has repaired what can be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from chassis.budget import Budget
from chassis.errors import CollectionNotFound, Conflict
from retriever.types import CollectionHead
from retriever.upkeep.findings import (
    DENSE,
    LEXICAL,
    Census,
    CollectionReport,
    Finding,
    Kind,
    Progress,
    is_confirmed,
    judged,
    lacks_chunks,
    seen_always,
)
from retriever.upkeep.ports import ChunkAudit, UpkeepStores, every_version, is_readable
from retriever.upkeep.repair import Repairer

logger = logging.getLogger(__name__)

PAGE: Final = 1_000  # records read at a time
CONFIRMED_AT_ONCE: Final = 500
ATTEMPTS: Final = 3  # of a check during which the collection was replaced
LOOKS: Final = 3  # at what seems to be missing
Event = Progress | CollectionReport
Counted = tuple[CollectionHead, CollectionReport]
"""What one look found, and the head that was read after it."""


class Verifier:
    """Checks collections of any tenant.

    Args:
        repairer: Repairs, when that is asked for.
    """

    def __init__(self, stores: UpkeepStores, repairer: Repairer) -> None:
        self._stores = stores
        self._repairer = repairer

    async def verify(self, tenant: str, name: str, *, repair: bool, budget: Budget) -> AsyncIterator[Event]:
        """Progress, and at last the report.

        Raises:
            CollectionNotFound, CatalogueUnavailable, SearchUnavailable, DeadlineExceeded.
            Conflict: the collection was replaced again and again.
        """
        counted: list[Counted] = []
        async for progress in self._looks(tenant, name, counted, budget):
            yield progress
        after, report = counted[-1]
        findings = await self._confirmed(after, seen_always([each for _, each in counted]), budget)
        if repair and findings:
            repaired: list[Finding] = []
            async for batch in self._repairer.repair(after, findings, budget=budget):
                repaired += batch
                yield Progress("repair", len(repaired), len(findings))
            findings = repaired
        yield replace(report, findings=tuple(findings))

    async def _looks(self, tenant: str, name: str, counted: list[Counted], budget: Budget) -> AsyncIterator[Progress]:
        """Count, and again while chunks seem to be missing: a graph that is written to may miss one once."""
        while not counted or (len(counted) < LOOKS and lacks_chunks(seen_always([each for _, each in counted]))):
            async for progress in self._look(tenant, name, counted, budget):
                yield progress

    async def _look(self, tenant: str, name: str, counted: list[Counted], budget: Budget) -> AsyncIterator[Progress]:
        for _ in range(ATTEMPTS):
            before = await self._head(tenant, name, budget)
            census = Census()
            async for progress in self._count(before, census, budget):
                yield progress
            after = await self._head(tenant, name, budget)
            if after.snapshot.uid == before.snapshot.uid:
                # In a thread: a million documents take seconds, in which this process answers others.
                report = await asyncio.to_thread(judged, census, before, after, list(self._audits(after)))
                counted.append((after, report))
                return
        raise Conflict("the collection was replaced during the check: try again", retry_after_s=1.0)

    async def _head(self, tenant: str, name: str, budget: Budget) -> CollectionHead:
        head = await self._stores.heads.get(tenant, name, budget=budget)
        if head is None or not is_readable(head):
            raise CollectionNotFound(f"there is no collection {name!r}", metadata={"collection": name})
        return head

    def _audits(self, head: CollectionHead) -> dict[str, ChunkAudit]:
        """The stores that must hold every chunk."""
        dense = {DENSE: self._stores.dense_for(head.embedder_fingerprint, 0)} if head.embedder_fingerprint else {}
        return {**dense, LEXICAL: self._stores.lexical}

    async def _count(self, head: CollectionHead, census: Census, budget: Budget) -> AsyncIterator[Progress]:
        """Fill the census: chunks before records, so that no chunk is without the record it was written with."""
        tenant, uid = head.tenant, head.snapshot.uid
        documents, chunks = await self._stores.records.counts(tenant, head.snapshot, budget=budget)
        for store, audit in self._audits(head).items():
            done = 0
            async for batch in audit.found(tenant, uid, budget=budget):
                census.add_places(store, batch)
                done += len(batch)
                yield Progress(store, done, chunks)
        async for page in every_version(self._stores.records, tenant, uid, limit=PAGE, budget=budget):
            census.add_records(page)
            yield Progress("catalogue", len(census.rows), documents)

    async def _confirmed(self, head: CollectionHead, found: Sequence[Finding], budget: Budget) -> list[Finding]:
        confirmed: list[Finding] = []
        for first in range(0, len(found), CONFIRMED_AT_ONCE):
            part = found[first : first + CONFIRMED_AT_ONCE]
            now = await self._head(head.tenant, head.name, budget)
            if now.snapshot.uid != head.snapshot.uid:
                return []
            versions = sorted({each.version for each in part})
            stored = await self._stores.records.versions(
                head.tenant, head.snapshot.uid, versions, limit=len(versions), budget=budget
            )
            with_record = {each.record.version for each in stored}
            for each in part:
                has_chunks = each.kind is Kind.CHUNKS_GHOST and await self._has_chunks(head, each, budget)
                if is_confirmed(each, now, has_record=each.version in with_record, has_chunks=has_chunks):
                    confirmed.append(each)
        return confirmed

    async def _has_chunks(self, head: CollectionHead, finding: Finding, budget: Budget) -> bool:
        audit = self._audits(head)[finding.store]
        return bool(await audit.chunks(head.tenant, head.snapshot.uid, finding.version, budget=budget))
