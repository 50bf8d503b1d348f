"""The write protocol of design.md section 4, over the ports alone, so that every set of stores is written the same way.

1. Take a number N: one compare-and-swap that also excludes it. 2. Write chunks to both stores and records to the
catalogue under N: nobody sees them. 3. Seal both stores and compare their counts. 4. One compare-and-swap that requires
N still open makes the new versions visible and the replaced ones dead. Whatever happens before 4 leaves readers as they
were.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import (
    BackendUnavailable,
    CatalogueUnavailable,
    Conflict,
    DeadlineExceeded,
    MetadataConflict,
    SearchUnavailable,
)
from retriever.ingest.changes import Change, Plan, Put, Result, Staged, all_fields, decide, missing, stage
from retriever.ingest.ledger import aborted, committed, new_head, opened
from retriever.ports import ChunkStore, CollectionHeads, DocumentRecords
from retriever.types import DEAD_LIMIT, CollectionHead, DocumentRecord, Outcome, PutResult

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.005  # first pause after a lost swap; doubles, with full jitter
MAX_RETRY_S: Final = 0.2
DEAD_POLL_S: Final = 0.1  # how often a commit looks whether the purger made room
ABORT_BUDGET_S: Final = 5.0  # an abort outlives the deadline that caused it; the janitor does what it cannot

HOLD_POLL_S: Final = 0.02  # how often a commit looks whether a reindex has taken its last step

Sleep = Callable[[float], Awaitable[None]]
Admits = Callable[[CollectionHead | None], None]


@dataclass(frozen=True, slots=True)
class Stores:
    """The ports a write goes through."""

    heads: CollectionHeads
    records: DocumentRecords
    dense: ChunkStore
    lexical: ChunkStore

    async def drop(self, tenant: str, uid: str, *, budget: Budget) -> None:
        """Delete everything of a uid that no head names any more; idempotent."""
        await self.dense.drop(tenant, uid, budget=budget)
        await self.lexical.drop(tenant, uid, budget=budget)
        await self.records.purge(tenant, uid, (), budget=budget)


@dataclass(frozen=True, slots=True)
class Opened:
    """An open transaction: its collection as it was, and its number."""

    head: CollectionHead
    number: int


class NotAdmitted(Conflict):
    """This writer may write no more; no retry changes that."""


def admits_all(head: CollectionHead | None) -> None:
    """Writers of collections that callers see."""


class Transactions:
    """Runs batches of changes to one collection, each as one transaction.

    Args:
        owner: Named in open transactions.
        admits: Looks at the head before every step that changes it; raises NotAdmitted when this writer no longer may.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        owner: str,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
        admits: Admits = admits_all,
    ) -> None:
        self._stores = stores
        self._owner = owner
        self._now = now
        self._sleep = sleep
        self._admits = admits

    async def run(self, tenant: str, name: str, changes: Sequence[Change], *, budget: Budget) -> list[Result]:
        """Apply the changes, at most one for each document id, in one commit; results in their order.

        Raises:
            Conflict, DeadlineExceeded: nothing was changed (or, on a deadline in the last step, it is unknown).
            BackendUnavailable, StorageFull: nothing was changed.
        """
        attempt = 0
        while True:
            try:
                return await self._attempt(tenant, name, changes, budget=budget)
            except NotAdmitted:
                raise
            except Conflict:
                pause = random.uniform(0, min(MAX_RETRY_S, RETRY_S * 2**attempt))
                if budget.remaining_s() <= pause:
                    raise
                await self._sleep(pause)
                attempt += 1

    async def _attempt(self, tenant: str, name: str, changes: Sequence[Change], *, budget: Budget) -> list[Result]:
        head = await self._head_for(tenant, name, changes, budget=budget)
        ids = [change.document_id for change in changes]
        current = await self._stores.records.visible(tenant, head.snapshot, ids, budget=budget)
        plan = decide(head, current, changes)
        if plan.puts:
            await self._write_and_commit(head, plan, budget=budget)
        elif plan.deletes:
            await self._commit(head, plan, None, (), budget=budget)
        return [plan.settled[at] for at in range(len(changes))]

    async def _head_for(self, tenant: str, name: str, changes: Sequence[Change], *, budget: Budget) -> CollectionHead:
        """The collection's head, or the one its first document would create."""
        head = await self._stores.heads.get(tenant, name, budget=budget)
        self._admits(head)
        if head is not None and (head.snapshot.generation > 0 or head.open_numbers):
            return head
        prints = [change.document.embedder_fingerprint for change in changes if isinstance(change, Put)]
        fresh = new_head(
            tenant, name, uid=uuid.uuid4().hex, embedder_fingerprint=prints[0] if prints else "", now=self._now()
        )
        # A head whose only transactions were aborted fixed nothing yet: it is made anew, under a new uid.
        return fresh if head is None else _in_place_of(head, fresh)

    async def _write_and_commit(self, head: CollectionHead, plan: Plan, *, budget: Budget) -> None:
        taken, number = opened(head, self._owner)
        head = await self._stores.heads.swap(taken, budget=budget)
        is_committed = False
        try:
            has_vectors = bool(head.embedder_fingerprint)
            staged = stage(list(plan.puts.values()), number, has_vectors=has_vectors, now=self._now())
            await self._write(head, number, staged, budget=budget)
            records = [record for record, _ in staged.documents]
            await self._commit(head, plan, number, records, budget=budget)
            is_committed = True
        finally:
            if not is_committed:
                await self._abort(Opened(head, number), Budget.of(ABORT_BUDGET_S, budget.clock))

    async def _write(self, head: CollectionHead, number: int, staged: Staged, *, budget: Budget) -> None:
        """Put everything under its number into the stores, and see that both hold all of it."""
        tenant, uid = head.tenant, head.snapshot.uid
        stores = [self._stores.lexical] + [self._stores.dense] * (staged.vectors is not None)
        texts = [(record, text) for (record, _), text in zip(staged.documents, staged.texts, strict=True)]
        await _together(
            self._stores.records.put(tenant, uid, texts, budget=budget, blocks=staged.blocks),
            *(store.write(tenant, uid, staged.documents, staged.vectors, budget=budget) for store in stores),
        )
        counts = await _together(*(store.seal(tenant, uid, number, budget=budget) for store in stores))
        if any(count != staged.chunk_count for count in counts):
            await self._still(head, number, budget=budget)  # else the collection was dropped: that is a conflict
            raise SearchUnavailable("the stores do not hold all that was written; try again", retry_after_s=1.0)

    async def _commit(
        self,
        head: CollectionHead,
        plan: Plan,
        number: int | None,
        records: Sequence[DocumentRecord],
        *,
        budget: Budget,
    ) -> None:
        """Swap the head until it takes, then settle the plan."""
        while True:
            head = await self._still(head, number, budget=budget)
            current = await self._stores.records.visible(head.tenant, head.snapshot, plan.document_ids, budget=budget)
            dead = {record.version for record in current.values()}
            if not records and not dead:
                break  # what was to be deleted is gone already
            _require_unchanged(plan, current)
            if await self._must_wait(head, dead, budget):
                continue
            wanted = self._wanted(head, plan, number, dead)
            try:
                head = await self._swap(wanted, number, budget=budget)
                break
            except Conflict:
                budget.check("commit")
        _settle(plan, head, records, deleted=set(current))

    async def _must_wait(self, head: CollectionHead, dead: set[int], budget: Budget) -> bool:
        """Wait a moment where the head takes no commit now; whether it was so."""
        if head.held_by:
            budget.check("commit: waiting for the last step of a reindex")
            await self._sleep(HOLD_POLL_S)
            return True
        if len(head.snapshot.dead) + len(dead) > DEAD_LIMIT:
            budget.check("commit: waiting until replaced documents are purged")
            await self._sleep(DEAD_POLL_S)
            return True
        return False

    async def _still(self, head: CollectionHead, number: int | None, *, budget: Budget) -> CollectionHead:
        """The head as of now, provided that it is the same collection's and `number` is open."""
        now = await self._stores.heads.get(head.tenant, head.name, budget=budget)
        self._admits(now)
        if now is None or now.snapshot.uid != head.snapshot.uid:
            raise Conflict("the collection was deleted or replaced while it was written; try again")
        if number is not None and number not in now.open_numbers:
            raise Conflict("the write took too long and was given up; try again")
        return now

    def _wanted(self, head: CollectionHead, plan: Plan, number: int | None, dead: set[int]) -> CollectionHead:
        """The head this commit wants to swap in."""
        try:
            fields = all_fields(head, list(plan.puts.values()))
        except MetadataConflict as exc:  # another writer fixed a field meanwhile: decide anew
            raise Conflict("another writer fixed a metadata field; try again") from exc
        return committed(head, number, dead=dead, fields=fields, now=self._now())

    async def _swap(self, wanted: CollectionHead, number: int | None, *, budget: Budget) -> CollectionHead:
        try:
            return await self._stores.heads.swap(wanted, budget=budget)
        except (BackendUnavailable, DeadlineExceeded):
            if number is None:
                raise  # a delete is safe to repeat
            return await self._landed(wanted, number, Budget.of(ABORT_BUDGET_S, budget.clock))

    async def _landed(self, wanted: CollectionHead, number: int, budget: Budget) -> CollectionHead:
        """Find out what became of a swap whose answer was lost: once the number is closed, it is committed or excluded,
        and stays so."""
        await self._abort(Opened(wanted, number), budget)
        now = await self._stores.heads.get(wanted.tenant, wanted.name, budget=budget)
        if now is None or now.snapshot.uid != wanted.snapshot.uid:
            raise Conflict("the collection was deleted while it was written; try again")
        if number in now.open_numbers:
            raise CatalogueUnavailable("the catalogue does not say whether the write was committed; send it again")
        if any(first <= number <= last for first, last in now.snapshot.excluded):
            raise Conflict("the commit did not reach the catalogue; try again")
        return now

    async def _abort(self, transaction: Opened, budget: Budget) -> None:
        """Close the transaction for ever. When the catalogue does not answer, the janitor will."""
        head, number = transaction.head, transaction.number
        while not budget.is_spent:
            try:
                now = await self._stores.heads.get(head.tenant, head.name, budget=budget)
                if now is None or now.snapshot.uid != head.snapshot.uid or number not in now.open_numbers:
                    return
                await self._stores.heads.swap(aborted(now, {number}), budget=budget)
            except Conflict:
                continue
            except (BackendUnavailable, DeadlineExceeded) as exc:
                logger.warning("an aborted write is left to the janitor", extra={"reason": exc.reason})
                return


def _in_place_of(stale: CollectionHead, fresh: CollectionHead) -> CollectionHead:
    """`fresh`, swappable over `stale`."""
    return CollectionHead(
        tenant=fresh.tenant,
        name=fresh.name,
        snapshot=fresh.snapshot,
        embedder_fingerprint=fresh.embedder_fingerprint,
        fields=fresh.fields,
        open_numbers=fresh.open_numbers,
        created_at=fresh.created_at,
        updated_at=fresh.updated_at,
        revision=stale.revision,
        staged=stale.staged,
    )


def _require_unchanged(plan: Plan, current: Mapping[str, DocumentRecord]) -> None:
    """What a repair replaces is still what is visible; else it is decided anew."""
    for document_id, version in plan.over.items():
        if document_id not in current or current[document_id].version != version:
            raise Conflict("another writer replaced the document that was to be repaired; try again")


def _settle(plan: Plan, head: CollectionHead, records: Sequence[DocumentRecord], *, deleted: set[str]) -> None:
    """Every change that was carried out gets its result."""
    generation = head.snapshot.generation
    for at, record in zip(plan.puts, records, strict=True):
        plan.settled[at] = PutResult(Outcome.STORED, generation, record)
    for at, document_id in plan.deletes.items():
        plan.settled[at] = generation if document_id in deleted else missing(head, document_id)


async def _together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """All of it at once; the first failure cancels the rest and is raised itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]
