"""The snapshot a read begins with: the catalogue's, read by every request; the last known one only when it is down."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, CatalogueUnavailable, CollectionNotFound, DeadlineExceeded
from retriever.ports import CollectionHeads
from retriever.types import CollectionHead

MAX_STALE_S: Final = 300.0  # design.md section 2: the one stated exception to delete visibility
# For a catalogue that hangs; callers in a hurry bring a smaller budget. A read takes 0.1 ms, but a machine that stalls
# for a moment must not be taken for a dead catalogue: the stale answer might show what was deleted.
TIMEBOX_S: Final = 1.0
MAX_KNOWN: Final = 10_000  # heads kept for a bad day, some 500 bytes each


@dataclass(frozen=True, slots=True)
class HeadReading:
    """A head, and how far to trust it.

    Attributes:
        age_s: Seconds since it was read from the catalogue; 0 for one read now.
        is_stale: The catalogue is down and this is the last known one: degraded, never cached.
    """

    head: CollectionHead
    age_s: float = 0.0
    is_stale: bool = False


class SnapshotReader:
    """Reads heads, and remembers them in case the catalogue goes."""

    def __init__(self, heads: CollectionHeads, *, clock: Clock = time.monotonic, timebox_s: float = TIMEBOX_S) -> None:
        self._heads = heads
        self._clock = clock
        self._timebox_s = timebox_s
        self._known: OrderedDict[tuple[str, str], tuple[float, CollectionHead]] = OrderedDict()

    async def head(self, tenant: str, name: str, *, budget: Budget) -> HeadReading:
        """The collection's head.

        Raises:
            CollectionNotFound: there is none, or nothing was committed to it yet.
            CatalogueUnavailable: the catalogue is down, and what was last known is older than MAX_STALE_S.
        """
        started = self._clock()
        try:
            found = await self._heads.get(tenant, name, budget=budget.within(self._timebox_s))
        except (BackendUnavailable, DeadlineExceeded) as exc:
            return self._last_known(tenant, name, exc)
        if found is None or found.snapshot.generation == 0:
            self._known.pop((tenant, name), None)
            raise CollectionNotFound(f"there is no collection {name!r}", metadata={"collection": name})
        self._remember(tenant, name, started, found)
        return HeadReading(found)

    def _remember(self, tenant: str, name: str, started: float, head: CollectionHead) -> None:
        """Age counts from before the read began: the head may have been passed while the answer travelled."""
        self._known[tenant, name] = (started, head)
        self._known.move_to_end((tenant, name))
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _last_known(self, tenant: str, name: str, cause: BackendUnavailable | DeadlineExceeded) -> HeadReading:
        read_at, head = self._known.get((tenant, name), (0.0, None))
        age_s = self._clock() - read_at
        if head is None or age_s > MAX_STALE_S:
            raise CatalogueUnavailable("the catalogue is down; try again", retry_after_s=1.0) from cause
        return HeadReading(head, age_s=age_s, is_stale=True)
