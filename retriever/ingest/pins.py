"""Pins: a read that lasts longer than the janitor's grace says that it still goes on.

Rule 1: a pin is set before the snapshot is read that it protects. A version that snapshot sees dies afterwards, and the
        janitor looks for pins after the grace, hence after the pin was set.
Rule 2: as with leases no clock is compared between processes: a pin stands while its beats grow, by the janitor's own
        clock. Readers of one collection share it, and nobody takes it away: it lapses.
Rule 3: a pin is a courtesy, not a lock. Whoever reads under one checks that all of what it was to read was there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, Conflict, DeadlineExceeded
from retriever.ports import Leases
from retriever.types import Lease

logger = logging.getLogger(__name__)

BEAT_S: Final = 3.0  # four beats may be late before the pin lapses
TERM_S: Final = 15.0  # how long what a read held stays after its last beat
BEAT_BUDGET_S: Final = 3.0


class ReadPins:
    """Sets pins, and tells the janitor of those that stand."""

    def __init__(self, leases: Leases, *, owner: str, clock: Clock = time.monotonic) -> None:
        self._leases = leases
        self._owner = owner
        self._clock = clock
        self._watched: dict[str, tuple[int, float]] = {}  # by uid: the revision seen last, and since when

    @asynccontextmanager
    async def held(self, uid: str, *, budget: Budget) -> AsyncIterator[None]:
        """Within the block nothing is purged that a snapshot of `uid`, read in it, sees."""
        await self._beat(uid, budget)
        task = asyncio.create_task(self._beat_on(uid), name="read-pin")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def is_pinned(self, uid: str, *, budget: Budget) -> bool:
        """Whether somebody reads; a pin seen for the first time is taken for a fresh one."""
        lease = await self._leases.get(_name(uid), budget=budget)
        if lease is None:
            return False
        revision, since = self._watched.get(uid, (-1, 0.0))
        if lease.revision != revision:
            self._watched[uid] = (lease.revision, self._clock())
            return True
        return self._clock() - since < TERM_S

    async def _beat_on(self, uid: str) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._beat(uid, Budget.of(BEAT_BUDGET_S))
            except (BackendUnavailable, DeadlineExceeded) as exc:
                logger.warning("a long read could not be renewed", extra={"reason": exc.reason})

    async def _beat(self, uid: str, budget: Budget) -> None:
        lease = await self._leases.get(_name(uid), budget=budget) or Lease(_name(uid), self._owner)
        with suppress(Conflict):  # another reader of it was faster: the pin stands
            await self._leases.swap(replace(lease, owner=self._owner, beats=lease.beats + 1), budget=budget)


def _name(uid: str) -> str:
    return f"read:{uid}"
