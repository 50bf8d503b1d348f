"""The answer cache in this process: a bounded, least-recently-used table with one matrix of vectors per partition.

Rule 1: exact vectors, no approximate index: 2,000 x 384 floats are multiplied in .05 ms.
Rule 2: a partition is never searched from another; there is no method that could.

Does not: survive a restart, share between replicas (RedisAnswerCache does both), or judge what it returns.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chassis.budget import Budget, Clock
from orchestrator.types import CachedAnswer, CacheKey, Candidate

DEFAULT_MAX_ENTRIES = 2_000  # at 5 passages of 1 KiB and a vector some 10 KiB each: 20 MiB of the 400 MiB goal
DEFAULT_TTL_S = 600.0  # the original's rag.cache-ttl-seconds


class MemoryAnswerCache:
    """The AnswerCache of the embedded mode.

    Args:
        max_entries: The least recently used entry goes when there are more.
        ttl_s: Seconds after which an entry is gone, however often it is read.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        ttl_s: float = DEFAULT_TTL_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[CacheKey, _Entry] = OrderedDict()  # least recently used first
        self._shelves: dict[str, _Shelf] = {}  # by partition
        self._by_answer: dict[tuple[str, str, str], CacheKey] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: CacheKey, *, budget: Budget) -> CachedAnswer | None:  # noqa: ARG002  # memory needs no time
        return self._live(key)

    async def similar(
        self,
        key: CacheKey,
        vector: Sequence[float],
        limit: int,
        *,
        budget: Budget,  # noqa: ARG002  # memory needs no time
    ) -> list[Candidate]:
        shelf = self._shelves.get(key.partition)
        if shelf is None:
            return []
        ranked = shelf.nearest(np.asarray(vector, np.float32))
        found: list[Candidate] = []
        for other, similarity in ranked:
            if (answer := self._live(other)) is not None:
                found.append(Candidate(answer, similarity))
            if len(found) == limit:
                break
        return found

    async def put(self, key: CacheKey, answer: CachedAnswer, *, budget: Budget) -> None:  # noqa: ARG002  # memory needs no time
        self._remove(key)
        # The vector is kept once, in the shelf: as Python floats it would be larger than the answer.
        self._entries[key] = _Entry(replace(answer, vector=()), self._clock() + self._ttl_s)
        self._by_answer[_name(answer)] = key
        if len(answer.vector):
            self._shelves.setdefault(key.partition, _Shelf()).add(key, answer.vector)
        while len(self._entries) > self._max_entries:
            self._remove(next(iter(self._entries)))

    async def evict(
        self,
        tenant: str,
        collection: str,
        answer_id: str,
        *,
        budget: Budget,  # noqa: ARG002  # memory needs no time
    ) -> bool:
        key = self._by_answer.get((tenant, collection, answer_id))
        if key is None or self._live(key) is None:
            return False
        self._remove(key)
        return True

    def _live(self, key: CacheKey) -> CachedAnswer | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def _remove(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        del self._by_answer[_name(entry.answer)]
        if (shelf := self._shelves.get(key.partition)) is not None:
            shelf.remove(key)
            if not shelf.keys:
                del self._shelves[key.partition]


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: CachedAnswer
    expires_at: float


class _Shelf:
    """The vectors of one partition, row i for keys[i]; capacity doubles, a removed row is filled with the last."""

    def __init__(self) -> None:
        self.keys: list[CacheKey] = []
        self._row_of: dict[CacheKey, int] = {}
        self._rows: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def nearest(self, vector: NDArray[np.float32]) -> list[tuple[CacheKey, float]]:
        """Every key with its cosine, best first; vectors are unit length by the Embedder's contract."""
        if not self.keys or vector.shape != (self._rows.shape[1],):
            return []
        cosines = self._rows[: len(self.keys)] @ vector
        return [(self.keys[row], float(cosines[row])) for row in np.argsort(-cosines, kind="stable")]

    def add(self, key: CacheKey, vector: Sequence[float]) -> None:
        row = len(self.keys)
        values = np.asarray(vector, np.float32)
        if row == len(self._rows):
            grown = np.empty((max(8, 2 * row), len(values)), np.float32)
            grown[:row] = self._rows[:row].reshape(row, len(values))
            self._rows = grown
        self._rows[row] = values
        self.keys.append(key)
        self._row_of[key] = row

    def remove(self, key: CacheKey) -> None:
        row = self._row_of.pop(key, None)
        if row is None:
            return
        last = self.keys.pop()
        if last != key:
            self.keys[row] = last
            self._row_of[last] = row
            self._rows[row] = self._rows[len(self.keys)]


def _name(answer: CachedAnswer) -> tuple[str, str, str]:
    return answer.tenant, answer.collection, answer.answer_id
