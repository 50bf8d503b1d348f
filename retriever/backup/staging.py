"""Contents staged beside a collection's visible ones, until one swap makes them the collection.

Rule 1: the head names the staged uid before anything is written under it, so that nobody takes it for an orphan.
Rule 2: its beats grow while the stager lives; when they stand still the janitor takes the name away, and the data.
Rule 3: the swap requires the name still there. Given up or flipped: which of the two is decided by one record.
Rule 4: G does not go back (ledger.flipped).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, CollectionExists, Conflict, DeadlineExceeded
from retriever.ingest.ledger import beaten, flipped, new_head, staging
from retriever.ingest.transactions import Stores
from retriever.ports import CollectionHeads
from retriever.types import CollectionHead, Staged

logger = logging.getLogger(__name__)

STEP_S: Final = 60.0  # one step in the stores, each of milliseconds where they are well
BEAT_S: Final = 20.0  # a sixth of what the janitor takes for dead
CLEANUP_S: Final = 60.0  # what is given up is removed in this time, or by the janitor


async def vacant(
    heads: CollectionHeads, tenant: str, name: str, *, is_replacing: bool, budget: Budget
) -> CollectionHead | None:
    """The head as it is (None: there is none), provided that other contents may take its place.

    Raises:
        CollectionExists.
    """
    head = await heads.get(tenant, name, budget=budget.within(STEP_S))
    if head is not None and head.snapshot.generation > 0 and not is_replacing:
        raise CollectionExists(
            f"there is a collection {name!r}: choose another name, or have it replaced", metadata={"collection": name}
        )
    return head


class Stage:
    """One set of staged contents.

    Args:
        stores: Where they are written.
        contents: The head they are to have; its uid is new, its generation at least 1.
        owner: This process.
        is_replacing: They may take the place of others.
        now: The wall clock, for the head.
    """

    def __init__(
        self,
        stores: Stores,
        contents: CollectionHead,
        *,
        owner: str,
        is_replacing: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._stores = stores
        self._contents = contents
        self._owner = owner
        self._is_replacing = is_replacing
        self._now = now

    @asynccontextmanager
    async def held(self, budget: Budget) -> AsyncIterator[None]:
        """Within the block the contents' uid is kept; what it holds is removed unless it became the collection.

        Raises:
            CollectionExists, Conflict: somebody else stages contents for it.
        """
        await self._announce(budget)
        beats = asyncio.create_task(self._beat(), name="stage-beats")
        is_done = False
        try:
            yield
            is_done = True
        finally:
            beats.cancel()
            with suppress(asyncio.CancelledError):
                await beats
            if not is_done:
                await self._give_up(Budget.of(CLEANUP_S, budget.clock))

    async def flip(self, high: int, *, budget: Budget) -> tuple[CollectionHead, Sequence[str]]:
        """Make the contents the collection.

        Args:
            high: The last number they were written under.
        Returns:
            The head, and the uids that it replaced.
        Raises:
            CollectionExists, Conflict: the collection was made or deleted meanwhile, or the stage taken for dead.
        """
        whole = replace(self._contents, snapshot=replace(self._contents.snapshot, high=high), updated_at=self._now())
        while True:
            head = await self._vacant(budget)
            if head is None or not self._is_mine(head):
                raise Conflict("the collection was deleted, or the import was taken for dead: try again")
            try:
                made = await self._swapped(flipped(head, whole), budget)
            except Conflict:
                budget.check("import")
            else:
                return made, [uid for uid in head.uids if uid not in made.uids]

    async def _swapped(self, wanted: CollectionHead, budget: Budget) -> CollectionHead:
        try:
            return await self._stores.heads.swap(wanted, budget=budget.within(STEP_S))
        except (BackendUnavailable, DeadlineExceeded):
            return await self._landed(Budget.of(CLEANUP_S, budget.clock))

    async def _announce(self, budget: Budget) -> None:
        head = await self._vacant(budget)
        if head is not None and head.staged is not None:
            raise Conflict("another import into this collection is under way: wait for its end", retry_after_s=STEP_S)
        contents = self._contents
        empty = new_head(contents.tenant, contents.name, uid=uuid.uuid4().hex, embedder_fingerprint="", now=self._now())
        staged = staging(head or empty, Staged(contents.snapshot.uid, self._owner))
        await self._stores.heads.swap(staged, budget=budget.within(STEP_S))

    async def _vacant(self, budget: Budget) -> CollectionHead | None:
        tenant, name = self._contents.tenant, self._contents.name
        return await vacant(self._stores.heads, tenant, name, is_replacing=self._is_replacing, budget=budget)

    async def _now_stored(self, budget: Budget) -> CollectionHead | None:
        return await self._stores.heads.get(self._contents.tenant, self._contents.name, budget=budget.within(STEP_S))

    def _is_mine(self, head: CollectionHead) -> bool:
        return head.staged is not None and head.staged.uid == self._contents.snapshot.uid

    async def _landed(self, budget: Budget) -> CollectionHead:
        """The head, if a swap whose answer was lost took; once the stage is given up it never will."""
        await self._unstage(budget)
        now = await self._now_stored(budget)
        if now is None or now.snapshot.uid != self._contents.snapshot.uid:
            raise Conflict("the import did not reach the catalogue: try again")
        return now

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            budget = Budget.of(BEAT_S)
            try:
                head = await self._now_stored(budget)
                if head is not None and self._is_mine(head):
                    await self._stores.heads.swap(beaten(head), budget=budget)
            except (BackendUnavailable, Conflict, DeadlineExceeded) as exc:
                logger.warning("an import could not show that it lives", extra={"reason": exc.reason})

    async def _give_up(self, budget: Budget) -> None:
        """Remove what was written; what cannot be removed now is the janitor's."""
        uid = self._contents.snapshot.uid
        try:
            await self._unstage(budget)
            head = await self._now_stored(budget)
            if head is None or uid not in head.uids:
                await self._stores.drop(self._contents.tenant, uid, budget=budget)
        except (BackendUnavailable, DeadlineExceeded) as exc:
            logger.warning("what an import wrote is left to the janitor", extra={"reason": exc.reason})

    async def _unstage(self, budget: Budget) -> None:
        """From here on the contents cannot become visible, unless they are."""
        while True:
            head = await self._now_stored(budget)
            if head is None or not self._is_mine(head):
                return
            try:
                if head.snapshot.generation or head.open_numbers:
                    await self._stores.heads.swap(staging(head, None), budget=budget.within(STEP_S))
                else:  # it was made for these contents
                    await self._stores.heads.remove(head, budget=budget.within(STEP_S))
            except Conflict:
                budget.check("import")
