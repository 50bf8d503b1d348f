"""One process at a time does the housekeeping; when it dies, another takes over.

Rule 1: no clock is compared between processes. Who wants the lease watches its revision; when that has stood still for
        the whole term, by the watcher's own monotonic clock, the holder is taken for dead.
Rule 2: the lease saves work, it does not keep anything safe: all that its holder does is a compare-and-swap or may be
        done twice, so a holder that wakes up late harms nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import Conflict
from retriever.ports import Leases
from retriever.types import Lease

LOOK_S: Final = 0.5  # between looks at another process's lease
STEP_S: Final = 10.0  # of one look: a lease is one small record
NOBODY: Final = ""  # no process is called this
TERM_S: Final = 15.0  # three missed looks of a janitor that is merely slow


class LeaseKeeper:
    """Takes, renews and watches one lease for one process."""

    def __init__(
        self, leases: Leases, name: str, *, owner: str, clock: Clock = time.monotonic, term_s: float = TERM_S
    ) -> None:
        self._leases = leases
        self._name = name
        self._owner = owner
        self._clock = clock
        self._term_s = term_s
        self._watched = (-1, 0.0)  # the revision seen last, and since when

    async def hold(self, *, budget: Budget) -> bool:
        """Renew the lease, or take it when it is free or its holder is dead; whether this process holds it now."""
        lease = await self._leases.get(self._name, budget=budget)
        if lease is None:
            return await self._swap(Lease(self._name, self._owner), budget)
        if lease.owner in {self._owner, NOBODY} or self._has_stood_still(lease):
            return await self._swap(replace(lease, owner=self._owner, beats=lease.beats + 1), budget)
        return False

    async def seize(self, *, budget: Budget) -> bool:
        """Take the lease whoever holds it; for a process that knows that it is alone (it holds the data folder)."""
        lease = await self._leases.get(self._name, budget=budget) or Lease(self._name, self._owner)
        return await self._swap(replace(lease, owner=self._owner, beats=lease.beats + 1), budget)

    async def take(self, *, budget: Budget, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Take it for a work that only one process does at a time; one that died with it is waited out.

        Raises:
            Conflict: as soon as another process shows that it is alive.
        """
        first = await self._leases.get(self._name, budget=budget.within(STEP_S))
        while not await self.hold(budget=budget.within(STEP_S)):
            now = await self._leases.get(self._name, budget=budget.within(STEP_S))
            if first is None or (now is not None and now.revision != first.revision):
                raise Conflict("another process is at this work: wait for its end", retry_after_s=self._term_s)
            budget.check("lease")
            await sleep(LOOK_S)

    async def release(self, *, budget: Budget) -> None:
        """Let another process take it at once, if it is still this one's."""
        lease = await self._leases.get(self._name, budget=budget)
        if lease is not None and lease.owner == self._owner:
            await self._swap(replace(lease, owner=NOBODY, beats=lease.beats + 1), budget)

    def _has_stood_still(self, lease: Lease) -> bool:
        revision, since = self._watched
        if lease.revision != revision:
            self._watched = (lease.revision, self._clock())
            return False
        return self._clock() - since >= self._term_s

    async def _swap(self, lease: Lease, budget: Budget) -> bool:
        try:
            await self._leases.swap(lease, budget=budget)
        except Conflict:
            return False
        return True
