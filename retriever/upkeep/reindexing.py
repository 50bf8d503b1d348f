"""Who may rebuild a collection, and what is to be rebuilt: the lease of one run at a time, builds begun and continued.

A rollback is a rebuild whose build is there already: the uid that a reindex replaced, to which what was written since
is brought over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import CollectionNotFound, Conflict, RagError, RollbackUnavailable
from retriever.ingest.lease import TERM_S, LeaseKeeper
from retriever.ingest.transactions import Sleep
from retriever.types import Build, CollectionHead, Snapshot
from retriever.upkeep.aftermath import end_build
from retriever.upkeep.build import build_name, started, taken_over
from retriever.upkeep.ports import STEP_S, UpkeepStores, is_readable
from retriever.upkeep.reindex import Event, Job, Rebuilder, ReindexReport
from retriever.upkeep.repair import RecipeFor
from retriever.upkeep.stored import Recipe

logger = logging.getLogger(__name__)

BEAT_S: Final = TERM_S / 5  # four may be missed
ROLLBACK: Final = "rollback"  # the recipe of a build that was made long ago


class Reindexer:
    """Reindexes, rolls back and cancels, for any tenant.

    Args:
        recipe_for: The recipe for vectors of a fingerprint; without an embedder where that is not here.
        owner: This process.
    """

    def __init__(
        self,
        stores: UpkeepStores,
        recipe_for: RecipeFor,
        *,
        owner: str,
        now: Callable[[], datetime],
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._heads = stores.heads
        self._recipe_for = recipe_for
        self._owner = owner
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._rebuilder = Rebuilder(stores, now=now, sleep=sleep)

    async def reindex(
        self, tenant: str, name: str, recipe: Recipe, *, keep: timedelta | None, budget: Budget
    ) -> AsyncIterator[Event]:
        """Build the collection anew by this recipe and put it in place. See Rebuilder.carry_out.

        Args:
            keep: How long the old one is kept for a rollback; None: not at all.
        Raises:
            Conflict: another run is alive.
        """
        async with self._running(tenant, name, budget) as runner:
            original = await self._original(tenant, name, budget)
            found = await self._heads.get(tenant, build_name(name), budget=budget.within(STEP_S))
            if found is not None and _is_in_place(original, found, recipe):
                yield await self._ended(original, found, budget)
                return
            build = await self._begun(original, found, recipe, runner=runner, budget=budget)
            until = None if keep is None else self._now() + keep
            async for event in self._carried_out(Job(original, build, recipe, runner, until), budget):
                yield event

    async def roll_back(self, tenant: str, name: str, *, budget: Budget) -> AsyncIterator[Event]:
        """Put back what a reindex replaced.

        Raises:
            RollbackUnavailable: nothing is kept.  Conflict: another run is alive, or a reindex is unfinished.
        """
        async with self._running(tenant, name, budget) as runner:
            original = await self._original(tenant, name, budget)
            kept = original.retired
            found = await self._heads.get(tenant, build_name(name), budget=budget.within(STEP_S))
            if found is not None and found.snapshot.uid == original.snapshot.uid:
                await end_build(self._heads, original, found, budget=budget.within(STEP_S))
                found = None
            if kept is None:
                raise RollbackUnavailable("no earlier build of the collection is kept: reindex it instead")
            if found is not None and found.snapshot.uid != kept.snapshot.uid:
                raise Conflict("a reindex of the collection is unfinished: finish or cancel it first")
            recipe = self._recipe_for(kept.embedder_fingerprint)
            if found is not None:
                build = await self._heads.swap(taken_over(found, runner), budget=budget.within(STEP_S))
            else:
                mark = Build(original.snapshot.uid, runner, ROLLBACK)
                fresh = started(original, mark, kept.snapshot, kept.embedder_fingerprint)
                build = await self._heads.swap(fresh, budget=budget.within(STEP_S))
            async for event in self._carried_out(Job(original, build, recipe, runner, None), budget):
                yield event

    async def cancel(self, tenant: str, name: str, *, budget: Budget) -> bool:
        """Remove an unfinished build; whether there was one. Raises Conflict while its run is alive."""
        async with self._running(tenant, name, budget):
            original = await self._original(tenant, name, budget)
            found = await self._heads.get(tenant, build_name(name), budget=budget.within(STEP_S))
            if found is None:
                return False
            await self._discard(original, found, budget)
            return found.snapshot.uid != original.snapshot.uid

    async def _carried_out(self, job: Job, budget: Budget) -> AsyncIterator[Event]:
        async with aclosing(self._rebuilder.carry_out(job, budget=budget)) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def _original(self, tenant: str, name: str, budget: Budget) -> CollectionHead:
        head = await self._heads.get(tenant, name, budget=budget.within(STEP_S))
        if head is None or not is_readable(head):
            raise CollectionNotFound(f"there is no collection {name!r}", metadata={"collection": name})
        return head

    async def _begun(
        self, original: CollectionHead, found: CollectionHead | None, recipe: Recipe, *, runner: str, budget: Budget
    ) -> CollectionHead:
        """The build to go on with, in this run's hands."""
        step = budget.within(STEP_S)
        if found is not None and found.build is not None:
            if (found.build.of_uid, found.build.recipe) == (original.snapshot.uid, recipe.name):
                return await self._heads.swap(taken_over(found, runner), budget=step)
            await self._discard(original, found, budget)
        mark = Build(original.snapshot.uid, runner, recipe.name)
        fresh = started(original, mark, Snapshot(uuid.uuid4().hex), recipe.fingerprint)
        return await self._heads.swap(fresh, budget=step)

    async def _ended(self, original: CollectionHead, build: CollectionHead, budget: Budget) -> ReindexReport:
        """A run before died after it had put its build in place: only the build's own head is left."""
        step = budget.within(STEP_S)
        await end_build(self._heads, original, build, budget=step)
        documents, chunks = await self._stores.records.counts(original.tenant, original.snapshot, budget=step)
        return ReindexReport(
            old_uid=build.build.of_uid if build.build else "",
            new_uid=original.snapshot.uid,
            generation=original.snapshot.generation,
            embedder_fingerprint=original.embedder_fingerprint,
            documents=documents,
            chunks=chunks,
            changed=0,
        )

    async def _discard(self, original: CollectionHead, build: CollectionHead, budget: Budget) -> None:
        """Remove a build, and what only it names."""
        step = budget.within(STEP_S)
        await end_build(self._heads, original, build, budget=step)
        uid, tenant = build.snapshot.uid, build.tenant
        if uid in original.uids:
            return
        for holdings in self._stores.holdings.values():
            await holdings.drop_named(holdings.name_of(tenant, uid), budget=step)

    @asynccontextmanager
    async def _running(self, tenant: str, name: str, budget: Budget) -> AsyncIterator[str]:
        """Hold the collection's lease within the block; yields this run's name."""
        runner = f"{self._owner} {secrets.token_hex(4)}"
        lease = LeaseKeeper(self._stores.leases, f"reindex {tenant} {name}", owner=runner, clock=self._clock)
        await lease.take(budget=budget, sleep=self._sleep)
        beating = asyncio.create_task(self._beat(lease), name="reindex-lease")
        try:
            yield runner
        finally:
            beating.cancel()
            await asyncio.wait([beating])
            with suppress(RagError):  # else it runs out
                await lease.release(budget=Budget.of(STEP_S))

    async def _beat(self, lease: LeaseKeeper) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await lease.hold(budget=Budget.of(BEAT_S))
            except RagError as error:  # the build's head is what keeps it safe
                logger.warning("a reindex could not renew its lease", extra={"reason": error.reason})


def _is_in_place(original: CollectionHead, build: CollectionHead, recipe: Recipe) -> bool:
    mark = build.build
    return build.snapshot.uid == original.snapshot.uid and mark is not None and mark.recipe == recipe.name
