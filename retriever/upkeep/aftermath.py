"""What reindexes and dropped collections leave behind, cleared up by whoever holds the janitor's lease.

Rule 1: whatever stands still is judged by this process's own clock, from when it first saw it.
Rule 2: all of it is swapped in, so one who is merely slow loses nothing but time: a reindex whose hold was taken away
        does not flip, one whose build was removed begins anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import Conflict
from retriever.ingest.ledger import forgotten, let_go
from retriever.ingest.swapping import change_head
from retriever.ports import CollectionHeads
from retriever.types import BUILD_SUFFIX, CollectionHead
from retriever.upkeep.build import handed_back, taken_over
from retriever.upkeep.sweep import Sweeper

HOLD_LIMIT_S: Final = 10.0  # twice what a reindex allows itself for its last step, while commits wait
ABANDONED_S: Final = 3_600.0  # a build that nobody has touched for so long; until then another run continues it
SWEEP_INTERVAL_S: Final = 60.0  # a sweep lists all that the stores hold


def utc_now() -> datetime:
    """The wall clock: what a rollback needs is kept for days, over restarts. Nothing's safety hangs on it."""
    return datetime.now(UTC)


class Aftermath:
    """Ends holds, builds and rollbacks that nobody needs any more, and sweeps what no head names.

    Args:
        clock: Monotonic.
        now: Wall time.
    """

    def __init__(
        self,
        heads: CollectionHeads,
        sweeper: Sweeper,
        *,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._heads = heads
        self._sweeper = sweeper
        self._clock = clock
        self._now = now
        self._since: dict[Hashable, float] = {}
        self._swept_at = -math.inf

    async def tidy(self, heads: Sequence[CollectionHead], *, budget: Budget) -> None:
        """One round over all heads, and a sweep when it is time for one."""
        moment = self._clock()
        self._since = {key: self._since.get(key, moment) for head in heads for key in _keys(head)}
        for head in heads:
            if head.held_by and self._stands(("held", head.snapshot.uid, head.held_by), HOLD_LIMIT_S):
                await change_head(self._heads, head, partial(_without_hold, of=head.held_by), budget=budget)
            if head.retired is not None and head.retired.keep_until <= self._now():
                await change_head(self._heads, head, partial(forgotten, moment=self._now()), budget=budget)
            if head.build is not None:
                await self._end_build(head, head.build.of_uid, budget)
        if moment - self._swept_at >= SWEEP_INTERVAL_S:
            self._swept_at = moment
            await self._sweeper.sweep(budget=budget)

    async def _end_build(self, build: CollectionHead, of_uid: str, budget: Budget) -> None:
        """Remove a build that nobody works on, or whose original is gone. The original is read now: the build may have
        been put in its place since `build` was read, and then this goes by its revision."""
        name = build.name.removesuffix(BUILD_SUFFIX)
        now = await self._heads.get(build.tenant, name, budget=budget)
        is_outlived = now is None or now.snapshot.uid != of_uid
        if is_outlived or self._stands(("build", build.snapshot.uid, build.revision), ABANDONED_S):
            await end_build(self._heads, now, build, budget=budget)

    def _stands(self, key: Hashable, limit_s: float) -> bool:
        return self._clock() - self._since[key] >= limit_s


async def end_build(
    heads: CollectionHeads, original: CollectionHead | None, build: CollectionHead, *, budget: Budget
) -> None:
    """Remove a build's head, unless somebody goes on with it meanwhile. What a rollback that is given up did to the uid
    it was to bring back is remembered first: a number must never be given out twice."""
    with suppress(Conflict):
        sealed = await heads.swap(taken_over(build, ""), budget=budget)
        if original is not None:
            await change_head(heads, original, lambda now: handed_back(now, sealed), budget=budget)
        await heads.remove(sealed, budget=budget)


def _without_hold(head: CollectionHead, *, of: str) -> CollectionHead | None:
    return let_go(head) if head.held_by == of else None


def _keys(head: CollectionHead) -> Iterable[Hashable]:
    if head.held_by:
        yield ("held", head.snapshot.uid, head.held_by)
    if head.build is not None:
        yield ("build", head.snapshot.uid, head.revision)
