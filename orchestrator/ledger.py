"""The snapshots this process has seen to be current, and when.

They are used for two things only: to look in the cache before the retriever has answered (the hit still waits for the
answer), and to serve exact hits while no retriever answers at all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from chassis.budget import Clock
from orchestrator.types import Question, Snapshot

MAX_AGE_S = 300.0  # design.md section 2: last known state is served for five minutes at most
MAX_COLLECTIONS = 10_000  # some 300 bytes each; the least recently verified is forgotten


@dataclass(frozen=True, slots=True)
class Verified:
    snapshot: Snapshot
    at: float  # monotonic seconds


class SnapshotLedger:
    """Last verified snapshots by tenant and collection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], Verified] = OrderedDict()

    def verified(self, question: Question, snapshot: Snapshot) -> None:
        """The retriever named `snapshot` just now."""
        key = _key(question)
        self._seen[key] = Verified(snapshot, self._clock())
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_COLLECTIONS:
            self._seen.popitem(last=False)

    def forget(self, question: Question) -> None:
        """The retriever says that the collection is not there."""
        self._seen.pop(_key(question), None)

    def recent(self, question: Question) -> Snapshot | None:
        """The last verified snapshot, if it was verified no longer than MAX_AGE_S ago."""
        seen = self._seen.get(_key(question))
        if seen is None or self._clock() - seen.at > MAX_AGE_S:
            return None
        return seen.snapshot


def _key(question: Question) -> tuple[str, str]:
    return question.identity.tenant, question.collection
