"""The answer cache that replicas share, in Redis.

One entry is one hash: signed bytes, the partition as a tag, the vector, its name for eviction. Both tiers read the same
hash, so they cannot disagree, and one expiry ends both. A script writes the entry, its name and its place in the
least-recently-used order in one step, and lets the oldest go.

Rule 1: whatever comes back is checked (orchestrator.cache.sealing) before it is believed. Bytes that do not pass are a
        miss and are counted; they never are an error, and the next put replaces them.
Rule 2: every failure of Redis is CacheUnavailable; a breaker around this class (GuardedCache) makes it cost nothing.
        Memory being out is none: reads go on, room is made once, and what then does not fit is not stored.
Rule 3: without the search module there is an exact tier only. That is said once, and looked at again every minute.

Does not: run on a Redis Cluster (a script reaches several keys), encrypt what it stores, bound a tenant's share (the
bound is of all entries together), or judge what it returns.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from chassis.budget import Budget, Clock
from chassis.errors import CacheUnavailable
from chassis.redis_client import FAILURES
from orchestrator.cache import redis_scripts as scripts
from orchestrator.cache.redis_vectors import Neighbour, VectorIndex
from orchestrator.cache.sealing import SCHEMA_VERSION, Record, SealBroken, Sealer, digest, vector_bytes
from orchestrator.types import CachedAnswer, CacheKey, Candidate

PREFIX = f"askmesh:answers:{SCHEMA_VERSION}:"
JITTER = 0.1  # entries of one burst of asks must not all end in the same second
MAX_ENTRY_BYTES = 512 << 10  # 100 passages of 1 KiB with quotes are 200 KiB; more would hold Redis up for everybody


def _ignored() -> None:
    """The default of the counters."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What nobody would hear of otherwise; each is called once per occurrence.

    Attributes:
        rejected: An entry did not pass its check.
        not_stored: There was no room for an answer, or it was too large.
    """

    rejected: Callable[[], None] = _ignored
    not_stored: Callable[[], None] = _ignored


class RedisAnswerCache:
    """The AnswerCache of a cluster.

    Args:
        client: From `chassis.redis_client.open_redis`; the caller closes it.
        secret: Signs entries; the same in all replicas.
        max_entries: The least recently used go when there are more, of all replicas together.
        ttl_s: Seconds after which an entry is gone at the latest.
    """

    def __init__(  # plain values and three seams, all by keyword
        self,
        client: Redis,
        secret: bytes,
        *,
        max_entries: int,
        ttl_s: float,
        counts: Counts | None = None,
        clock: Clock = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._sealer = Sealer(secret)
        self._max_entries = max_entries
        self._ttl_ms = max(1, round(ttl_s * 1_000))
        self._counts = counts or Counts()
        self._draw = draw
        self._vectors = VectorIndex(client, PREFIX, clock)
        self._get = client.register_script(scripts.GET)
        self._put = client.register_script(scripts.PUT)
        self._make_room = client.register_script(scripts.MAKE_ROOM)
        self._evict = client.register_script(scripts.EVICT)

    async def get(self, key: CacheKey, *, budget: Budget) -> CachedAnswer | None:
        async with _translated(budget):
            try:
                sealed = await self._get(keys=[PREFIX], args=[_entry(key)])
            except ResponseError as exc:
                if not str(exc).startswith("WRONGTYPE"):
                    raise
                sealed = b""  # something else lies under our key
        if sealed is None:
            return None
        return self._opened(key, sealed, lambda record: record.question == key.question)

    async def similar(self, key: CacheKey, vector: Sequence[float], limit: int, *, budget: Budget) -> list[Candidate]:
        async with _translated(budget):
            near = await self._vectors.nearest(_tag(key), vector_bytes(vector), limit)
        candidates = [(self._neighbour(key, neighbour), neighbour.similarity) for neighbour in near]
        return [Candidate(answer, similarity) for answer, similarity in candidates if answer is not None]

    async def put(self, key: CacheKey, answer: CachedAnswer, *, budget: Budget) -> None:
        sealed = self._sealer.seal(key, answer)
        if len(sealed) > MAX_ENTRY_BYTES:
            self._counts.not_stored()
            return
        fields: list[Any] = ["sealed", sealed]
        vector = vector_bytes(answer.vector)
        if vector:
            fields += ["partition", _tag(key), self._vectors.field(vector), vector]
        name = _name(answer.tenant, answer.collection, answer.answer_id)
        ttl_ms = max(1, round(self._ttl_ms * (1 - JITTER * self._draw())))
        args = [_entry(key), name, ttl_ms, self._ttl_ms, self._max_entries, *fields]
        async with _translated(budget):
            if not await self._stored(vector, args):
                self._counts.not_stored()

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> bool:
        async with _translated(budget):
            return bool(await self._evict(keys=[PREFIX], args=[_name(tenant, collection, answer_id)]))

    async def _stored(self, vector: bytes, args: Sequence[Any]) -> bool:
        """Whether there was room, after some was made."""
        for _ in range(2):
            try:
                if vector:
                    await self._vectors.prepare(vector)
                await self._put(keys=[PREFIX], args=args)
            except OutOfMemoryError:
                await self._make_room(keys=[PREFIX])
            else:
                return True
        return False

    def _neighbour(self, key: CacheKey, neighbour: Neighbour) -> CachedAnswer | None:
        signed = digest(neighbour.vector)
        return self._opened(key, neighbour.sealed, lambda record: record.vector == signed)

    def _opened(self, key: CacheKey, sealed: bytes, belongs_here: Callable[[Record], bool]) -> CachedAnswer | None:
        try:
            record = self._sealer.open(key.partition, sealed)
        except SealBroken:
            record = None
        if record is None or not belongs_here(record):
            self._counts.rejected()
            return None
        return record.answer


@asynccontextmanager
async def _translated(budget: Budget) -> AsyncIterator[None]:
    """Within the budget; whatever Redis or its driver raises leaves as CacheUnavailable, without its words."""
    try:
        async with asyncio.timeout(budget.remaining_s()):
            yield
    except FAILURES as exc:
        raise CacheUnavailable("the answer cache did not answer") from exc


def _entry(key: CacheKey) -> str:
    return _digest(key.partition, key.question)


def _tag(key: CacheKey) -> str:
    """The partition as a tag that needs no escaping, whatever it is made of."""
    return _digest(key.partition)


def _name(tenant: str, collection: str, answer_id: str) -> str:
    return _digest(tenant, collection, answer_id)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
