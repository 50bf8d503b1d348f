"""Heads whose snapshots a mirror may hold: no write is acknowledged while the mirror shows what it passed.

Rule 1: what changes a snapshot is done inside `Mirror.committing`. Numbers opened, aborted or purged change none.
Rule 2: a head says which mirror may hold it (CollectionHead.mirror), and only that mirror is filled with it. Who
        commits to a head that is marked for another mirror than its own, or for one while it keeps none itself, closes
        the mark and waits until everything filled under it is dead, before it acknowledges. So a retriever whose
        settings differ from the others' costs time, and says so in its log; nobody reads an old snapshot through it.
Rule 3: a closed mark may be replaced by who has known it for chassis.mirror.WAIT_S: nothing filled before is left then.
Rule 4: a write may learn of a state that another write left unacknowledged (its answer was lost, its process died), and
        acknowledge that. Such a state is passed on to the mirror first: `settle`.

tests/unit/retriever/test_mirrored.py drives this code and chassis.mirror through lost and late messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, Conflict, DeadlineExceeded
from chassis.mirror import WAIT_S, Mirror, mirror_name
from retriever.ports import CollectionHeads
from retriever.types import CollectionHead, Snapshot

MAX_KNOWN: Final = 10_000  # collections remembered, some 500 bytes each; forgetting one costs a needless invalidation
_CLOSED: Final = "closed-"
_UNKNOWN: Final = Snapshot("", generation=-1)

State = tuple[str, int] | None
"""What readers see of a collection: (uid, generation), or that there is none."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """What this process knows of one collection.

    Attributes:
        head: As last read; None: there is none.
        is_settled: The mirror shows nothing older than `head`.
        changes: How often another state was seen: what was true before is not said to be true of what came since.
        closed: The closed mark of the head, and since when this process knows it.
    """

    head: CollectionHead | None = None
    is_settled: bool = False
    changes: int = 0
    closed: tuple[str, float] = ("", 0.0)


class MirroredHeads:
    """CollectionHeads around another; see the rules above.

    Args:
        mirror: Kept by this process; None: it keeps none.
        mark: The mirror's name in heads; "" without one.
        sleep: Waits seconds on `clock`.
    """

    def __init__(
        self,
        inner: CollectionHeads,
        mirror: Mirror | None = None,
        *,
        mark: str = "",
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._mirror = mirror
        self._mark = mark
        self._clock = clock
        self._sleep = sleep
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def get(self, tenant: str, name: str, *, budget: Budget) -> CollectionHead | None:
        """See retriever.ports.CollectionHeads."""
        head = await self._inner.get(tenant, name, budget=budget)
        self._saw((tenant, name), head)
        return head

    async def list(self, tenant: str, *, after: str, limit: int, budget: Budget) -> list[CollectionHead]:
        """See retriever.ports.CollectionHeads."""
        return await self._inner.list(tenant, after=after, limit=limit, budget=budget)

    async def swap(self, head: CollectionHead, *, budget: Budget) -> CollectionHead:
        """See retriever.ports.CollectionHeads."""
        key = (head.tenant, head.name)
        before = self._before(head)
        if _state(before) == _state(head):
            mark = "" if before is None else before.mirror
            stored = await self._inner.swap(replace(head, mirror=mark), budget=budget)
            self._saw(key, stored)
            return stored
        mark = self._mark_after(key, before)
        async with self._changing(key, mark):
            stored = await self._inner.swap(replace(head, mirror=mark), budget=budget)
            self._saw(key, stored)
        return stored

    async def remove(self, head: CollectionHead, *, budget: Budget) -> None:
        """See retriever.ports.CollectionHeads."""
        key = (head.tenant, head.name)
        async with self._changing(key, self._mark_after(key, self._before(head))):
            await self._inner.remove(head, budget=budget)
            self._saw(key, None)

    async def settle(self, tenant: str, name: str) -> None:
        """Before anything is acknowledged that this process read of the collection's heads (rule 4)."""
        key = (tenant, name)
        known = self._remembered(key)
        if not known.is_settled:
            async with self._changing(key, self._mark_after(key, known.head)):
                pass

    async def fill(self, head: CollectionHead, token: str, value: bytes, *, budget: Budget) -> bool:
        """Mirror `value`, made of a head that was read after `token` was taken; whether that was done. Never fails."""
        key = (head.tenant, head.name)
        if self._mirror is None or self._mark_after(key, head) != self._mark:
            return False
        if head.mirror != self._mark:
            try:
                self._saw(key, await self._inner.swap(replace(head, mirror=self._mark), budget=budget))
            except (Conflict, BackendUnavailable, DeadlineExceeded):
                return False  # old already, or not known to be marked
        return await self._mirror.fill(mirror_name(*key), token, value)

    @asynccontextmanager
    async def _changing(self, key: tuple[str, str], mark: str) -> AsyncIterator[None]:
        """Around a change of what readers see, after which the head has `mark`; then all that was seen is settled."""
        known = self._remembered(key)
        async with self._mirror.committing(mirror_name(*key)) if self._mirror else nullcontext():
            yield
            seen = known.changes
        if mark != self._mark:
            logger.warning(
                "a write waits for a snapshot mirror that this retriever does not keep: give all of them the same one",
                extra={"seconds": WAIT_S},
            )
            await self._sleep(WAIT_S)
        known.is_settled = known.changes == seen

    def _mark_after(self, key: tuple[str, str], before: CollectionHead | None) -> str:
        """Our own mark, or a closed one when something may be mirrored elsewhere of the head as it was."""
        mark = "" if before is None else before.mirror
        if mark in {"", self._mark}:
            return self._mark
        if not mark.startswith(_CLOSED):
            return _CLOSED + uuid.uuid4().hex
        closed, since = self._remembered(key).closed
        return self._mark if closed == mark and self._clock() - since >= WAIT_S else mark

    def _before(self, head: CollectionHead) -> CollectionHead | None:
        """The stored head that `head` is to replace; None: there is none."""
        known = self._remembered((head.tenant, head.name)).head
        if known is not None and known.revision == head.revision:
            return known
        # Not known (any more): what was made of it says what its mark was. Its state then counts as changed.
        return replace(head, snapshot=_UNKNOWN) if head.revision else None

    def _saw(self, key: tuple[str, str], head: CollectionHead | None) -> None:
        known = self._remembered(key)
        if _is_older(head, known.head):
            return  # an answer that was overtaken is no news, and must not cost a write its wait a second time
        if _state(known.head) != _state(head):
            known.is_settled = False
            known.changes += 1
        known.head = head
        mark = "" if head is None else head.mirror
        if mark.startswith(_CLOSED) and known.closed[0] != mark:
            known.closed = (mark, self._clock())

    def _remembered(self, key: tuple[str, str]) -> _Known:
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known


def _is_older(head: CollectionHead | None, than: CollectionHead | None) -> bool:
    if head is None or than is None or head.snapshot.uid != than.snapshot.uid:
        return False
    return head.snapshot.generation < than.snapshot.generation


def _state(head: CollectionHead | None) -> State:
    if head is None or head.snapshot.generation == 0:  # readers take it for absent
        return None
    return head.snapshot.uid, head.snapshot.generation
