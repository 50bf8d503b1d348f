"""Rebuilds a collection beside itself and puts the result in its place, while it is read and written.

1. A build (build.py) is filled with what the original shows. 2. What was written meanwhile is brought over, again and
again, until little is left. 3. The original's commits are held, the rest is brought over, the build is sealed, and one
compare-and-swap of the original's head puts the build's uid in place. Readers hold the old snapshot or the new one.

Rule 1: the swap requires the hold and the generation that the build was brought to: a hold that was taken away, by the
        janitor from one who was too slow, means that nothing is swapped.
Rule 2: a lease says who runs; the build's head, whoever may write to it (build.py). The second keeps it safe, the first
        keeps two from doing the work.
Rule 3: a run that dies leaves a build that the next one goes on with, and at most a hold that the janitor ends.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, CollectionNotFound, Conflict, DeadlineExceeded
from retriever.ingest.ledger import let_go
from retriever.ingest.swapping import change_head
from retriever.ingest.transactions import Sleep, Stores, Transactions
from retriever.types import CollectionHead
from retriever.upkeep.build import in_place, only, sealed_by, unsealed_by
from retriever.upkeep.catchup import CatchUp, Tools
from retriever.upkeep.findings import Progress
from retriever.upkeep.ports import STEP_S, UpkeepStores, is_readable
from retriever.upkeep.stored import Recipe, StoredDocuments

logger = logging.getLogger(__name__)

FEW_COMMITS: Final = 8  # left to bring over: some 100 ms of work, for which writers may wait
MAX_ROUNDS: Final = 100  # of catching up: who is still behind then is slower than the writers
LAST_STEP_S: Final = 5.0  # for which commits are held at most; the janitor waits twice as long before it ends a hold


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """See rag.retriever.v1.ReindexReport."""

    old_uid: str
    new_uid: str
    generation: int
    embedder_fingerprint: str
    documents: int
    chunks: int
    changed: int


Event = Progress | ReindexReport


@dataclass(frozen=True, slots=True)
class Job:
    """One run's work: this build, to be put in this original's place.

    Attributes:
        keep_until: For a rollback; None: the original is not kept.
    """

    original: CollectionHead
    build: CollectionHead
    recipe: Recipe
    runner: str
    keep_until: datetime | None


class Rebuilder:
    """Carries jobs out."""

    def __init__(
        self,
        stores: UpkeepStores,
        *,
        now: Callable[[], datetime],
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._heads = stores.heads
        self._now = now
        self._clock = clock
        self._sleep = sleep

    async def carry_out(self, job: Job, *, budget: Budget) -> AsyncIterator[Event]:
        """Progress, and at last the report.

        Raises:
            Conflict: another run took over, the collection was replaced, or it is written faster than it is rebuilt.
            CollectionNotFound: it was deleted.  EmbedderUnavailable, DocumentNotFound, BackendUnavailable.
        """
        catch_up = self._catch_up(job)
        is_equal, last = False, job.original
        lag: float
        for _ in range(MAX_ROUNDS):
            budget.check("reindex")
            now = await self._original(job, budget)
            if is_equal:
                lag = now.snapshot.generation - last.snapshot.generation
                is_equal = await catch_up.since(last, now, budget=budget)
                yield Progress("catch up", catch_up.changed)
            else:
                lag, is_equal = math.inf, True  # it takes long: what came meanwhile is brought over first
                total, _chunks = await self._stores.records.counts(
                    now.tenant, now.snapshot, budget=budget.within(STEP_S)
                )
                async for seen in catch_up.everything(now.snapshot, budget=budget):
                    yield Progress("copy", seen, total)
            last = now
            if not is_equal or lag > FEW_COMMITS:
                continue
            yield Progress("flip", 0, 1)
            flipped = await self._flip(job, catch_up, last, budget)
            if flipped is not None:
                yield await self._report(job, flipped, catch_up.changed, budget)
                return
            is_equal = False
        raise Conflict("the collection is written faster than it can be rebuilt: try again when less is written")

    def _catch_up(self, job: Job) -> CatchUp:
        stores, recipe = self._stores, job.recipe
        dim = recipe.embedder.dim if recipe.embedder else 0
        admits = only(job.runner)
        written = Stores(stores.heads, stores.records, stores.dense_for(recipe.fingerprint, dim), stores.lexical)
        tenant, uid = job.original.tenant, job.original.snapshot.uid
        old = stores.dense_for(job.original.embedder_fingerprint, 0)
        tools = Tools(
            heads=stores.heads,
            records=stores.records,
            documents=StoredDocuments(stores.records, (stores.lexical, old), tenant=tenant, uid=uid),
            transactions=Transactions(written, owner=job.runner, now=self._now, sleep=self._sleep, admits=admits),
            recipe=recipe,
            admits=admits,
        )
        return CatchUp(tools, job.original)

    async def _original(self, job: Job, budget: Budget) -> CollectionHead:
        name = job.original.name
        now = await self._heads.get(job.original.tenant, name, budget=budget.within(STEP_S))
        if now is None or not is_readable(now):
            raise CollectionNotFound(f"there is no collection {name!r}", metadata={"collection": name})
        if now.snapshot.uid != job.original.snapshot.uid:
            raise Conflict("the collection was replaced while it was rebuilt: try again")
        return now

    async def _flip(self, job: Job, catch_up: CatchUp, last: CollectionHead, budget: Budget) -> CollectionHead | None:
        """Hold commits, bring over the rest, swap; the new head, or None when nothing was swapped."""
        step = budget.within(LAST_STEP_S)
        try:
            with suppress(TimeoutError, DeadlineExceeded, BackendUnavailable):  # what became of it is looked up
                async with asyncio.timeout(step.remaining_s()):
                    await self._last_step(job, catch_up, last, step)
        finally:
            flipped = await self._settled(job, budget.within(STEP_S))
        return flipped

    async def _last_step(self, job: Job, catch_up: CatchUp, last: CollectionHead, budget: Budget) -> None:
        """A hold that another run left is taken over: this one has the lease, so that one is dead or will find out."""
        held = await change_head(self._heads, last, lambda now: replace(now, held_by=job.runner), budget=budget)
        if held is not None and await catch_up.since(last, held, budget=budget):
            await self._swap(job, held, budget)

    async def _swap(self, job: Job, held: CollectionHead, budget: Budget) -> None:
        """Seal the build and put it in place, as long as the hold stands."""

        sealed = await change_head(self._heads, job.build, partial(sealed_by, runner=job.runner), budget=budget)
        while sealed is not None:
            now = await self._heads.get(held.tenant, held.name, budget=budget)
            is_held = now is not None and now.held_by == job.runner
            if now is None or not is_held or now.snapshot.generation != held.snapshot.generation:
                return
            try:
                await self._heads.swap(in_place(now, sealed, now=self._now(), keep_until=job.keep_until), budget=budget)
            except Conflict:
                budget.check("reindex")  # a transaction was opened, or dead versions were purged
            else:
                return

    async def _settled(self, job: Job, budget: Budget) -> CollectionHead | None:
        """After the last step: the new head and the build's removed; or, where nothing was swapped, the hold ended and
        then the build unsealed. In this order: once the original has changed, a swap of ours that is still on its way
        fails. And only a seal of ours: another run may have sealed the build for a swap of its own."""
        original, build = job.original, job.build
        now = await self._heads.get(original.tenant, original.name, budget=budget)
        if now is not None and now.snapshot.uid == build.snapshot.uid:
            left = await self._heads.get(build.tenant, build.name, budget=budget)
            if left is not None and left.snapshot.uid == build.snapshot.uid:
                with suppress(Conflict):
                    await self._heads.remove(left, budget=budget)
            return now
        await change_head(
            self._heads, original, lambda now: let_go(now) if now.held_by == job.runner else None, budget=budget
        )
        await change_head(self._heads, build, partial(unsealed_by, runner=job.runner), budget=budget)
        return None

    async def _report(self, job: Job, new: CollectionHead, changed: int, budget: Budget) -> ReindexReport:
        documents, chunks = await self._stores.records.counts(new.tenant, new.snapshot, budget=budget.within(STEP_S))
        return ReindexReport(
            old_uid=job.original.snapshot.uid,
            new_uid=new.snapshot.uid,
            generation=new.snapshot.generation,
            embedder_fingerprint=new.embedder_fingerprint,
            documents=documents,
            chunks=chunks,
            changed=changed,
        )
