"""The vector side of RedisAnswerCache: the nearest entries of one partition, by Redis' own search module.

Rule 1: exact search (FLAT) over the entries that carry the partition's tag, not a graph: the tag leaves a few hundred
        of them, .5 ms for 10,000, and an approximate index loses neighbours behind a narrow filter.
Rule 2: one index per number of dimensions, made when it is first needed. FLUSHALL and a restart take it away: then the
        next search makes it again and finds nothing meanwhile.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from chassis.budget import Clock

FLOAT_BYTES = 4
LOOK_AGAIN_S = 60.0  # the module does not come without a restart of Redis; a minute of missed near hits is little

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry as it lies in Redis: nothing of it is checked yet."""

    sealed: bytes
    vector: bytes
    similarity: float


class VectorIndex:
    """Finds neighbours; without the search module it finds none, and says so once."""

    def __init__(self, client: Redis, prefix: str, clock: Clock) -> None:
        self._client: Any = client  # execute_command has no types
        self._prefix = prefix
        self._clock = clock
        self._prepared: set[int] = set()
        self._absent_until = float("-inf")
        self._has_said = False

    def field(self, vector: bytes) -> str:
        return f"vector{_dimensions(vector)}"

    async def prepare(self, vector: bytes) -> None:
        """Make the index for vectors of this length unless it is there."""
        dimensions = _dimensions(vector)
        if dimensions in self._prepared or self._is_absent():
            return
        try:
            await self._client.execute_command(*self._creation(vector))
        except ResponseError as exc:
            if _is_unknown_command(exc):
                self._absent()
                return
            if "already exists" not in str(exc).lower():
                raise
        self._prepared.add(dimensions)

    async def nearest(self, tag: str, vector: bytes, limit: int) -> list[Neighbour]:
        """At most `limit` entries of the tag, best first."""
        if self._is_absent():
            return []
        try:
            reply = await self._client.execute_command(*self._query(tag, vector, limit))
        except ResponseError as exc:
            if _is_unknown_command(exc):
                self._absent()
            elif "no such index" in str(exc).lower():
                await self._prepare_again(vector)
            else:
                raise
            return []
        return [found for fields in reply[2::2] if (found := self._neighbour(fields, vector)) is not None]

    async def _prepare_again(self, vector: bytes) -> None:
        self._prepared.discard(_dimensions(vector))
        # With no memory left a later put makes room first.
        with suppress(OutOfMemoryError):
            await self.prepare(vector)

    def _neighbour(self, fields: list[bytes] | None, vector: bytes) -> Neighbour | None:
        if not fields:
            return None  # it expired between the search and its loading
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        stored, distance = named.get(self.field(vector).encode()), named.get(b"distance")
        if stored is None or distance is None:
            return None
        return Neighbour(named.get(b"sealed", b""), stored, 1.0 - float(distance))

    def _creation(self, vector: bytes) -> list[Any]:
        place = ["FT.CREATE", self._index(vector), "ON", "HASH", "PREFIX", 1, f"{self._prefix}entry:"]
        metric = ["TYPE", "FLOAT32", "DIM", _dimensions(vector), "DISTANCE_METRIC", "COSINE"]
        return [*place, "SCHEMA", "partition", "TAG", self.field(vector), "VECTOR", "FLAT", len(metric), *metric]

    def _query(self, tag: str, vector: bytes, limit: int) -> list[Any]:
        field = self.field(vector)
        query = f"(@partition:{{{tag}}})=>[KNN {limit} @{field} $vector AS distance]"
        returned = ["RETURN", 3, "sealed", field, "distance", "SORTBY", "distance", "ASC", "LIMIT", 0, limit]
        return ["FT.SEARCH", self._index(vector), query, "PARAMS", 2, "vector", vector, *returned, "DIALECT", 2]

    def _index(self, vector: bytes) -> str:
        return f"{self._prefix}by-{self.field(vector)}"

    def _is_absent(self) -> bool:
        return self._clock() < self._absent_until

    def _absent(self) -> None:
        self._absent_until = self._clock() + LOOK_AGAIN_S
        if not self._has_said:
            self._has_said = True
            _log.warning("Redis has no vector search: the answer cache has its exact tier only")


def _dimensions(vector: bytes) -> int:
    return len(vector) // FLOAT_BYTES


def _is_unknown_command(exc: ResponseError) -> bool:
    return str(exc).lower().startswith("unknown command")
