"""Housekeeping behind the writers: abort what died open, remove what nobody can see any more.

Rule 1: a dead version is removed only when every read that could still see it has ended: it has been dead for longer,
        by this process's clock, than the longest read may last.
Rule 2: its entry leaves the head last, once both stores count none of its chunks: while it is listed it is invisible,
        once it is not listed it is not there.
Rule 3: aborting is always safe: a commit requires its number open, so a writer that was merely slow tries again. So is
        giving up what is staged: its swap requires it still there.
Rule 4: what a long read holds (ReadPins) stays, unless so much piles up that writers would have to wait for it.
Rule 5: collections do not wait for each other: one whose shard is broken or hangs is passed over, and said at the end.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, Protocol

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, Conflict, DeadlineExceeded
from chassis.logs import failure_fields
from retriever.ingest.lease import TERM_S, LeaseKeeper
from retriever.ingest.ledger import aborted, aborted_ranges, purged, recovered, staging
from retriever.ingest.pins import ReadPins
from retriever.ingest.swapping import change_head
from retriever.ingest.transactions import Sleep, Stores
from retriever.ports import ChunkStore, HeadSurvey, Leases
from retriever.types import DEAD_LIMIT, CollectionHead, Staged, version_of

logger = logging.getLogger(__name__)

GRACE_S: Final = 6.0  # Retrieve stops itself after 5 s (retriever.proto): no read at an older snapshot is left
STALE_AFTER_S: Final = 120.0  # twice the longest transaction (commit.TRANSACTION_LIMIT_S)
INTERVAL_S: Final = 1.0  # between rounds: replacing documents at full speed must not fill DEAD_LIMIT for long
ROUND_BUDGET_S: Final = 30.0
HEADS_SHARE: Final = 2 / 3  # of a round's time; the rest is the aftermath's, however long the collections take
HEAD_BUDGET_S: Final = 10.0  # half of that: behind one that hangs others have their turn in the same round
BEAT_S: Final = TERM_S / 5  # four may be missed
PAGE: Final = 500  # heads read at a time: a refresh and a search each, 20 ms of 500 as of 100
PINNED_LIMIT: Final = DEAD_LIMIT * 3 // 4  # so many dead versions end a pin: readers can begin again, writers only wait


FIRST: Final = ("", "")  # before every tenant and name

Failure = BackendUnavailable | Conflict | DeadlineExceeded


class Aftermath(Protocol):
    """retriever.upkeep.aftermath.Aftermath, as the janitor sees it."""

    async def tidy(self, heads: Sequence[CollectionHead], *, budget: Budget) -> None: ...


class Work(Protocol):
    """One kind of housekeeping."""

    __name__: str

    async def __call__(self, head: CollectionHead, *, budget: Budget) -> None: ...


class Janitor:
    """Aborts stale transactions and purges dead versions, while it holds the lease."""

    def __init__(  # noqa: PLR0913  # what it waits for is given so that tests need not wait
        self,
        stores: Stores,
        *,
        survey: HeadSurvey,
        leases: Leases,
        owner: str,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        aftermath: Aftermath | None = None,
        grace_s: float = GRACE_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self._stores = stores
        self._survey = survey
        self._lease = LeaseKeeper(leases, "janitor", owner=owner, clock=clock)
        self._pins = ReadPins(leases, owner=owner, clock=clock)
        self._owner = owner
        self._clock = clock
        self._sleep = sleep
        self._grace_s = grace_s
        self._stale_after_s = stale_after_s
        self._since: dict[Hashable, float] = {}  # when this process first saw each dead version, number and range
        self._swept: set[Hashable] = set()  # aborted ranges that were emptied already
        self._aftermath = aftermath
        self._beaten = -math.inf  # when the lease was renewed last
        self._next: dict[str, tuple[str, str]] = {}  # by work: where the round before ran out of time

    async def recover(self, *, budget: Budget) -> None:
        """At the start of a process that is alone with its stores: whatever is open was left by a dead one."""
        await self._lease.seize(budget=budget)
        for head in await self._heads(budget):
            stale = {number for number, owner in head.open_numbers.items() if owner != self._owner}
            if stale or head.held_by:
                await self._change(head, partial(recovered, numbers=stale), budget=budget)
            if head.staged is not None and head.staged.owner != self._owner:
                await self._unstage(head, head.staged, budget=budget)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tidy in the background until the block is left."""
        task = asyncio.create_task(self._run(), name="janitor")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def tidy(self, *, budget: Budget) -> None:
        """One round: nothing without the lease; with it, every collection.

        Raises:
            BackendUnavailable, Conflict, DeadlineExceeded: the first of what failed, once all had their turn.
        """
        self._beaten = -math.inf
        if not await self._holds(budget):
            return
        heads = await self._heads(budget)
        self._watch(heads)
        share = budget.within(budget.remaining_s() * HEADS_SHARE)
        failed = await self._each(heads, self._tidy_one, budget=share)
        failed += await self._each(heads, self._sweep_aborted, budget=share)
        if self._aftermath is not None:
            await self._aftermath.tidy(heads, budget=budget)
        if failed:
            raise failed[0]

    async def _each(self, heads: Sequence[CollectionHead], work: Work, *, budget: Budget) -> list[Failure]:
        """Do it for every collection, those first that the round before had no time for; what failed."""
        failed: list[Failure] = []
        late = [head for head in heads if _place(head) >= self._next.get(work.__name__, FIRST)]
        for head in [*late, *heads[: len(heads) - len(late)]]:
            if budget.is_spent or not await self._holds(budget):
                self._next[work.__name__] = _place(head)
                return failed
            try:
                await work(head, budget=budget.within(HEAD_BUDGET_S))
            except (BackendUnavailable, Conflict, DeadlineExceeded) as exc:
                failed.append(exc)
        self._next.pop(work.__name__, None)
        return failed

    async def _holds(self, budget: Budget) -> bool:
        """Renew the lease when it is time to; whether this process holds it. A round may last longer than its term."""
        if self._clock() - self._beaten < BEAT_S:
            return True
        self._beaten = self._clock()
        return await self._lease.hold(budget=budget)

    async def _tidy_one(self, head: CollectionHead, *, budget: Budget) -> None:
        await self._abort_stale(head, budget=budget)
        await self._unstage_stale(head, budget=budget)
        await self._purge_dead(head, budget=budget)

    async def _run(self) -> None:
        while True:
            try:
                await self.tidy(budget=Budget.of(ROUND_BUDGET_S, self._clock))
            except (BackendUnavailable, Conflict, DeadlineExceeded) as exc:
                logger.warning("housekeeping was put off", extra={"reason": exc.reason})
            except Exception as exc:  # noqa: BLE001  # a bug of ours: nobody else would tidy until the next start
                logger.error("housekeeping failed inside", extra=failure_fields(exc))
            await self._sleep(INTERVAL_S)

    async def _heads(self, budget: Budget) -> list[CollectionHead]:
        heads: list[CollectionHead] = []
        after = FIRST
        while page := await self._survey.every(after=after, limit=PAGE, budget=budget):
            heads += page
            after = (page[-1].tenant, page[-1].name)
        return heads

    def _watch(self, heads: Iterable[CollectionHead]) -> None:
        """Remember since when each thing has been waiting, and forget what is gone."""
        now = self._clock()
        present = {key for head in heads for key in _keys(head)}
        self._since = {key: self._since.get(key, now) for key in present}
        self._swept &= present

    def _is_ripe(self, key: Hashable, after_s: float) -> bool:
        return self._clock() - self._since[key] >= after_s

    async def _abort_stale(self, head: CollectionHead, *, budget: Budget) -> None:
        uid = head.snapshot.uid
        stale = {n for n in head.open_numbers if self._is_ripe(("open", uid, n), self._stale_after_s)}
        if stale:
            await self._change(head, partial(aborted, numbers=stale), budget=budget)

    async def _purge_dead(self, head: CollectionHead, *, budget: Budget) -> None:
        uid = head.snapshot.uid
        ripe = [v for v in sorted(head.snapshot.dead) if self._is_ripe(("dead", uid, v), self._grace_s)]
        if not ripe:
            return
        if len(head.snapshot.dead) < PINNED_LIMIT and await self._pins.is_pinned(uid, budget=budget):
            return
        await self._remove(head, ripe, budget=budget)
        await self._change(head, partial(purged, versions=ripe), budget=budget)

    async def _unstage_stale(self, head: CollectionHead, *, budget: Budget) -> None:
        staged = head.staged
        if staged is not None and self._is_ripe(("staged", staged), self._stale_after_s):
            await self._unstage(head, staged, budget=budget)

    async def _unstage(self, head: CollectionHead, staged: Staged, *, budget: Budget) -> None:
        """Give up what a dead process staged: the head forgets it first, so that nothing can make it visible."""
        await self._change(head, partial(_without, staged=staged), budget=budget)
        now = await self._stores.heads.get(head.tenant, head.name, budget=budget)
        if now is None or staged.uid not in now.uids:
            await self._stores.drop(head.tenant, staged.uid, budget=budget)

    async def _sweep_aborted(self, head: CollectionHead, *, budget: Budget) -> None:
        """Aborted numbers stay excluded for ever; what was written under them need not stay. Last: nobody waits for it,
        and whoever takes the lease over looks at every range again."""
        uid = head.snapshot.uid
        for first, last in aborted_ranges(head):
            key = ("aborted", uid, first, last)
            if key in self._since and key not in self._swept and self._is_ripe(key, self._grace_s):
                await self._remove(head, range(version_of(first, 0), version_of(last + 1, 0)), budget=budget)
                self._swept.add(key)

    async def _remove(self, head: CollectionHead, versions: Sequence[int], *, budget: Budget) -> None:
        tenant, uid = head.tenant, head.snapshot.uid
        for store in (self._stores.dense, self._stores.lexical):
            await _empty(store, tenant, uid, versions, budget=budget)
        await self._stores.records.purge(tenant, uid, versions, budget=budget)

    async def _change(
        self, head: CollectionHead, change: Callable[[CollectionHead], CollectionHead], *, budget: Budget
    ) -> None:
        await change_head(self._stores.heads, head, change, budget=budget)


def _place(head: CollectionHead) -> tuple[str, str]:
    """Its place in a listing of all heads."""
    return head.tenant, head.name


def _without(head: CollectionHead, staged: Staged) -> CollectionHead:
    """The head without these staged contents; one whose stager woke up, or has ended, is left as it is."""
    return staging(head, None) if head.staged == staged else head


async def _empty(store: ChunkStore, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> None:
    while await store.purge(tenant, uid, versions, budget=budget):
        budget.check("purge")


def _keys(head: CollectionHead) -> Iterable[Hashable]:
    uid = head.snapshot.uid
    yield from (("dead", uid, version) for version in head.snapshot.dead)
    yield from (("open", uid, number) for number in head.open_numbers)
    if head.staged is not None:
        yield ("staged", head.staged)
    yield from (("aborted", uid, first, last) for first, last in aborted_ranges(head))
