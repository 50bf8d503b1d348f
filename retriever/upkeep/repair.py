"""Repairs what a check found, by the means every writer has: a purge of what nobody sees rightly, and transactions.

Rule 1: a document is written again under a version of its own, and only over the version that was found wanting: what a
        writer stored meanwhile stays.
Rule 2: what cannot be repaired is said, with the reason, and does not keep the rest from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from chassis.budget import Budget
from chassis.errors import RagError
from retriever.ingest.changes import Put
from retriever.ingest.ledger import committed
from retriever.ingest.swapping import change_head
from retriever.ingest.transactions import Sleep, Stores, Transactions
from retriever.types import CollectionHead, Outcome, PutResult
from retriever.upkeep.findings import DENSE, Finding, Kind
from retriever.upkeep.ports import UpkeepStores
from retriever.upkeep.stored import Recipe, StoredDocuments

logger = logging.getLogger(__name__)

REWRITTEN: Final = frozenset({Kind.CHUNKS_MISSING, Kind.CHUNKS_SURPLUS})
TRANSACTION_S: Final = 60.0  # as a writer's (ingest.commit.TRANSACTION_LIMIT_S)
RecipeFor = Callable[[str], Recipe]
"""The recipe for a collection of this embedder fingerprint."""


class Repairer:
    """Repairs collections of any tenant."""

    def __init__(
        self,
        stores: UpkeepStores,
        recipe_for: RecipeFor,
        *,
        owner: str,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._recipe_for = recipe_for
        self._owner = owner
        self._now = now
        self._sleep = sleep

    async def repair(
        self, head: CollectionHead, findings: Sequence[Finding], *, budget: Budget
    ) -> AsyncIterator[list[Finding]]:
        """The findings as they are after the attempt, in batches: those of one version together."""
        by_version: dict[int, list[Finding]] = {}
        for finding in findings:
            by_version.setdefault(finding.version, []).append(finding)
        for version, found in by_version.items():
            budget.check("repair")
            try:
                yield [replace(each, is_repaired=done) for each, done in await self._one(head, version, found, budget)]
            except RagError as error:
                logger.warning("a finding was not repaired", extra={"kind": found[0].kind, "reason": error.reason})
                yield [replace(each, obstacle=error.message) for each in found]

    async def _one(
        self, head: CollectionHead, version: int, found: Sequence[Finding], budget: Budget
    ) -> list[tuple[Finding, bool]]:
        kinds = {each.kind for each in found}
        if Kind.DOCUMENT_DOUBLED in kinds:  # what else is wrong with this version goes with it
            await self._bury(head, version, budget)
            return [(each, True) for each in found]
        is_rewritten = bool(kinds & REWRITTEN) and await self._rewrite(head, version, budget)
        for each in found:
            if each.kind is Kind.CHUNKS_GHOST:
                await self._purge(head, each, budget)
        return [(each, each.kind is Kind.CHUNKS_GHOST or (each.kind in REWRITTEN and is_rewritten)) for each in found]

    async def _rewrite(self, head: CollectionHead, version: int, budget: Budget) -> bool:
        """Store the document again, over this version."""
        tenant, uid = head.tenant, head.snapshot.uid
        recipe = self._recipe_for(head.embedder_fingerprint)
        dense = self._stores.dense_for(recipe.fingerprint, recipe.embedder.dim if recipe.embedder else 0)
        [stored] = await self._stores.records.versions(tenant, uid, [version], limit=1, budget=budget)
        again = StoredDocuments(self._stores.records, (self._stores.lexical, dense), tenant=tenant, uid=uid)
        document = await again.again(stored.record, recipe, budget=budget)
        stores = Stores(self._stores.heads, self._stores.records, dense, self._stores.lexical)
        transactions = Transactions(stores, owner=self._owner, now=self._now, sleep=self._sleep)
        change = Put(document, over=version)
        [result] = await transactions.run(tenant, head.name, [change], budget=budget.within(TRANSACTION_S))
        if isinstance(result, RagError):
            raise result
        return isinstance(result, PutResult) and result.outcome in {Outcome.STORED, Outcome.UNCHANGED}

    async def _purge(self, head: CollectionHead, ghost: Finding, budget: Budget) -> None:
        dense = self._stores.dense_for(head.embedder_fingerprint, 0)
        store = dense if ghost.store == DENSE else self._stores.lexical
        while await store.purge(head.tenant, head.snapshot.uid, [ghost.version], budget=budget):
            budget.check("repair")

    async def _bury(self, head: CollectionHead, version: int, budget: Budget) -> None:
        """Delete one of two visible versions; the purger does the rest."""

        def without(now: CollectionHead) -> CollectionHead | None:
            if not now.snapshot.sees(version):
                return None
            return committed(now, None, dead={version}, fields=now.fields, now=self._now())

        await change_head(self._stores.heads, head, without, budget=budget)
