"""Makes a build hold what its original shows: all of it at first, then what has changed since.

Two versions are the same document when their identity is (retriever.types.DocumentRecord): it covers content, metadata,
groups and everything else its owner sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chassis.budget import Budget
from chassis.errors import DocumentNotFound, RagError
from retriever.ingest.changes import Change, Delete, PreparedDocument, Put
from retriever.ingest.transactions import Admits, Transactions
from retriever.ports import CollectionHeads
from retriever.types import CollectionHead, DocumentRecord, Snapshot, version_of
from retriever.upkeep.build import build_name
from retriever.upkeep.ports import STEP_S, UpkeepRecords, every_version
from retriever.upkeep.stored import Recipe, StoredDocuments, rebuilt

PAGE: Final = 64  # versions compared at a time, and documents of one transaction (as ingest.commit's batches)
BATCH_CHUNKS: Final = 1_024
TRANSACTION_S: Final = 60.0  # as a writer's (ingest.commit.TRANSACTION_LIMIT_S)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a build is made with."""

    heads: CollectionHeads
    records: UpkeepRecords
    documents: StoredDocuments
    transactions: Transactions
    recipe: Recipe
    admits: Admits


class CatchUp:
    """Brings one build to the state of one snapshot after another of its original.

    Attributes:
        changed: Documents written or removed so far.
    """

    def __init__(self, tools: Tools, original: CollectionHead) -> None:
        self._tools = tools
        self._original = original
        self._tenant = original.tenant
        self.changed = 0

    async def everything(self, at: Snapshot, *, budget: Budget) -> AsyncIterator[int]:
        """Make the build show what the original does at this snapshot; yields how many documents were looked at."""
        seen, records = 0, self._tools.records
        async for page in every_version(records, self._tenant, at.uid, limit=PAGE, budget=budget):
            ids = [each.record.document_id for each in page if at.sees(each.record.version)]
            await self._settle(ids, at, budget)
            seen += len(ids)
            yield seen
        build = await self._build(budget)
        async for page in every_version(records, self._tenant, build.uid, limit=PAGE, budget=budget):
            await self._settle(
                [each.record.document_id for each in page if build.sees(each.record.version)], at, budget
            )

    async def since(self, last: CollectionHead, now: CollectionHead, *, budget: Budget) -> bool:
        """Bring over what was committed between two readings of the original's head, the build being at `last`.

        Returns:
            Whether the build now shows what `now` does. All that was put is brought over; when a document that was
            deleted in between is purged already, nothing tells of it but the number of documents: then it does not, and
            everything must be compared.
        """
        records, at = self._tools.records, now.snapshot
        first = version_of(min([last.snapshot.high + 1, *last.open_numbers]), 0)
        async for page in every_version(records, self._tenant, at.uid, limit=PAGE, budget=budget, first=first):
            await self._settle([each.record.document_id for each in page], at, budget)
        dead = sorted(at.dead - last.snapshot.dead)
        for start in range(0, len(dead), PAGE):
            part, step = dead[start : start + PAGE], budget.within(STEP_S)
            stored = await records.versions(self._tenant, at.uid, part, limit=PAGE, budget=step)
            await self._settle([each.record.document_id for each in stored], at, budget)
        return await self._count(at, budget) == await self._count(await self._build(budget), budget)

    async def _build(self, budget: Budget) -> Snapshot:
        """What the build shows now."""
        name = build_name(self._original.name)
        head = await self._tools.heads.get(self._tenant, name, budget=budget.within(STEP_S))
        self._tools.admits(head)
        assert head is not None
        return head.snapshot

    async def _count(self, snapshot: Snapshot, budget: Budget) -> int:
        return (await self._tools.records.counts(self._tenant, snapshot, budget=budget.within(STEP_S)))[0]

    async def _settle(self, ids: Iterable[str], at: Snapshot, budget: Budget) -> None:
        """Make the build's version of each of these documents the original's: put, replaced or removed."""
        unique = list(dict.fromkeys(ids))
        if not unique:
            return
        records, build, step = self._tools.records, await self._build(budget), budget.within(STEP_S)
        wanted = await records.visible(self._tenant, at, unique, budget=step)
        present = await records.visible(self._tenant, build, unique, budget=step)
        await self._apply([Delete(each) for each in unique if each in present and each not in wanted], budget)
        await self._write([each for each in wanted.values() if not _is_same(each, present)], budget)

    async def _write(self, records: Sequence[DocumentRecord], budget: Budget) -> None:
        batch: list[Change] = []
        chunks = 0
        for record in records:
            document = await self._again(record, budget)
            if document is None:
                continue
            if batch and chunks + len(document.drafts) > BATCH_CHUNKS:
                await self._apply(batch, budget)
                batch, chunks = [], 0
            batch.append(Put(document))
            chunks += len(document.drafts)
        await self._apply(batch, budget)

    async def _again(self, record: DocumentRecord, budget: Budget) -> PreparedDocument | None:
        """The document made again; None when it was replaced or deleted, and purged: a later step sees that."""
        recipe, original = self._tools.recipe, self._original
        wanted = rebuilt(record, original.embedder_fingerprint, recipe)
        try:
            return await self._tools.documents.again(record, recipe, stored_as=wanted, budget=budget)
        except DocumentNotFound as missing:
            now = await self._tools.heads.get(original.tenant, original.name, budget=budget.within(STEP_S))
            uid, among = original.snapshot.uid, [record.version]
            left = await self._tools.records.versions(
                original.tenant, uid, among, limit=1, budget=budget.within(STEP_S)
            )
            if now is not None and now.snapshot.uid == uid and now.snapshot.sees(record.version) and left:
                raise DocumentNotFound(
                    "the text of a document is missing: ingest it again (`askmesh collections verify` names it)",
                    metadata={"document": record.document_id},
                ) from missing
            return None

    async def _apply(self, changes: Sequence[Change], budget: Budget) -> None:
        if not changes:
            return
        name = build_name(self._original.name)
        within = budget.within(TRANSACTION_S)
        for result in await self._tools.transactions.run(self._tenant, name, changes, budget=within):
            if isinstance(result, RagError):
                raise result
        self.changed += len(changes)


def _is_same(wanted: DocumentRecord, present: Mapping[str, DocumentRecord]) -> bool:
    found = present.get(wanted.document_id)
    return found is not None and found.identity == wanted.identity
