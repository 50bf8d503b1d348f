"""The dense leg on Weaviate: HNSW by cosine, filtered inside the search.

Rule 1: a write ends with one more, of a marker. Weaviate 1.35 hands a batch's graph to the operating system when the
        next batch comes: killed before that it keeps the objects, counts them, and never finds the last hundred again.
Rule 2: so what is sealed is what a search finds, not what an aggregate counts.

Does not: embed, rank by words, hold a lexical-only collection, quantise, or promise more than Weaviate does. A search
of more than FLAT_SEARCH_CUTOFF candidates is approximate. What is acknowledged is in every replica's log, handed to the
operating system, not synced to its disk. Weaviate's asynchronous indexing must stay off (its default): with it a chunk
would be counted before it can be found.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import numpy as np
from weaviate.proto.v1.v6300.v1 import base_pb2, base_search_pb2, search_get_pb2

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from embedding.ports import FloatArray
from retriever.ports import MAX_READ_CHUNKS
from retriever.search.weaviate.conditions import POSITION, VERSION, among, between, every, visible
from retriever.search.weaviate.engine import Engine
from retriever.search.weaviate.failures import PLACE
from retriever.search.weaviate.layout import CHUNK, CLASS_PREFIX, class_definition, class_name, tenant_name
from retriever.search.weaviate.objects import (
    HIT_PROPERTIES,
    Shard,
    batch,
    chunk_of,
    hit_of,
    marker,
    place_of,
    vector_of,
)
from retriever.types import Chunk, DocumentRecord, Hit, Scope, version_of
from retriever.upkeep.ports import STEP_S, Place

logger = logging.getLogger(__name__)

BATCH_OBJECTS: Final = 100  # even with 32 fields of 1,024 characters each, half of what one message may have
PURGE_OBJECTS: Final = 1_000  # one deletion; others may write between two
SEAL_OBJECTS: Final = 5_000  # looked for at once: half of what Weaviate returns at most (QUERY_MAXIMUM_RESULTS)
READ_OBJECTS: Final = 1_000  # with their texts, some 2 MB
MAX_POSITION: Final = (1 << 31) - 1
MAX_VERSION: Final = (1 << 53) - 1  # see objects.py


class WeaviateDenseIndex:
    """DenseLeg, ChunkStore and ChunkReader over one embedder's class."""

    def __init__(
        self,
        engine: Engine,
        *,
        fingerprint: str,
        dim: int,
        namespace: str = "askmesh",
    ) -> None:
        """Args:
        fingerprint: The embedder's whose vectors are written and searched.
        dim: Their length.
        namespace: Keeps deployments apart that share a Weaviate.
        """
        self._engine = engine
        self._class = class_name(fingerprint)
        self._dim = dim
        self._namespace = namespace

    async def search(self, vector: FloatArray, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        """See retriever.ports.DenseLeg."""
        if not scope.groups:
            return []
        if vector.shape != (self._dim,):
            raise SearchUnavailable(f"{PLACE}: the query's vector has another length than the collection's")
        shard = self._shard(scope.tenant, scope.snapshot.uid)
        request = search_get_pb2.SearchRequest(
            near_vector=base_search_pb2.NearVector(vector_bytes=vector.astype("<f4").tobytes()),
            filters=visible(scope),
            limit=limit,
            metadata=search_get_pb2.MetadataRequest(distance=True),
            **_asking(shard, HIT_PROPERTIES),
        )
        try:
            results = await self._engine.search(request, budget=budget)
        except SearchUnavailable:
            if await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
                raise
            return []  # nothing was ever written to this collection
        return [hit_of(result) for result in results]

    async def write(
        self,
        tenant: str,
        uid: str,
        documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]],
        vectors: FloatArray | None,
        *,
        budget: Budget,
    ) -> None:
        """See retriever.ports.ChunkStore; without vectors there is nothing for this leg to keep."""
        if vectors is None:
            return
        await self._have_class(budget)
        shard = self._shard(tenant, uid)
        rows = [(record, chunk) for record, chunks in documents for chunk in chunks]
        exact = np.ascontiguousarray(vectors, dtype=np.float32)
        if exact.shape != (len(rows), self._dim):
            raise SearchUnavailable(f"{PLACE}: the vectors are not one of {self._dim} numbers for each chunk")
        try:
            await self._store(shard, rows, exact, budget)
        except SearchUnavailable:
            if await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
                raise
            # The collection was dropped meanwhile, and what was written went with it: that is no failure of the store,
            # and whoever seals it finds nothing.

    async def _store(
        self, shard: Shard, rows: Sequence[tuple[DocumentRecord, Chunk]], vectors: FloatArray, budget: Budget
    ) -> None:
        for start in range(0, len(rows), BATCH_OBJECTS):
            part = slice(start, start + BATCH_OBJECTS)
            objects = await asyncio.to_thread(batch, shard, rows[part], vectors[part])
            await self._engine.store(objects, budget=budget)
        await self._engine.store([marker(shard)], budget=budget)

    async def seal(self, tenant: str, uid: str, number: int, *, budget: Budget) -> int:
        """See retriever.ports.ChunkStore. What was written is durable already; here it is looked for."""
        shard, versions = self._shard(tenant, uid), (version_of(number, 0), version_of(number + 1, 0) - 1)
        found = await self._findable(shard, versions, (0, MAX_POSITION), budget)
        if not found and await self._count(shard, between(VERSION, *versions), budget):
            logger.warning("Weaviate has what was written and does not find it: its ASYNC_INDEXING must be off")
        return found

    async def _findable(
        self, shard: Shard, versions: tuple[int, int], positions: tuple[int, int], budget: Budget
    ) -> int:
        """How many chunks of these versions and positions a search finds, in parts that Weaviate searches exactly."""
        which = every([between(VERSION, *versions), between(POSITION, *positions)])
        count = await self._count(shard, which, budget)
        if count == 0:
            return 0
        if count <= SEAL_OBJECTS:
            return len(await self._engine.search(self._anywhere(shard, which, count), budget=budget))
        return sum([await self._findable(shard, *part, budget) for part in _divided(versions, positions)])

    def _anywhere(
        self, shard: Shard, which: base_pb2.Filters, limit: int, properties: Sequence[str] = ()
    ) -> search_get_pb2.SearchRequest:
        """A search by vector that every vector passes, for nothing but whether it is found."""
        vector = np.eye(1, self._dim, dtype="<f4")
        return search_get_pb2.SearchRequest(
            near_vector=base_search_pb2.NearVector(vector_bytes=vector.tobytes()),
            filters=which,
            limit=limit,
            metadata=search_get_pb2.MetadataRequest(uuid=True),
            **_asking(shard, properties),
        )

    async def read(
        self, tenant: str, uid: str, versions: Sequence[int], positions: range, *, budget: Budget
    ) -> tuple[list[Chunk], FloatArray | None]:
        """See retriever.ports.ChunkReader."""
        shard = self._shard(tenant, uid)
        which = every([among(versions), between(POSITION, positions.start, positions.stop - 1)])
        request = search_get_pb2.SearchRequest(
            filters=which,
            limit=MAX_READ_CHUNKS,
            metadata=search_get_pb2.MetadataRequest(vector=True),
            **_asking(shard, (CHUNK,)),
        )
        if not await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
            return [], np.empty((0, self._dim), np.float32)
        found = await self._engine.search(request, budget=budget)
        pairs = await asyncio.to_thread(lambda: [(chunk_of(each), vector_of(each)) for each in found])
        pairs.sort(key=lambda pair: (pair[0].version, pair[0].position))
        vectors = np.array([vector for _, vector in pairs], np.float32).reshape(len(pairs), self._dim)
        return [chunk for chunk, _ in pairs], vectors

    async def found(self, tenant: str, uid: str, *, budget: Budget) -> AsyncIterator[Sequence[Place]]:
        """See retriever.upkeep.ports.ChunkAudit."""
        shard = self._shard(tenant, uid)
        self._dim = self._dim or await dim_of(self._engine, shard, budget=budget)
        if not self._dim or not await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
            return
        parts = [((0, MAX_VERSION), (0, MAX_POSITION))]
        while parts:
            step = budget.within(STEP_S)
            versions, positions = parts.pop()
            which = every([between(VERSION, *versions), between(POSITION, *positions)])
            count = await self._count(shard, which, step)
            if count > SEAL_OBJECTS:
                parts += _divided(versions, positions)
            elif count:
                request = self._anywhere(shard, which, count, (VERSION, POSITION))
                yield [place_of(each) for each in await self._engine.search(request, budget=step)]

    async def chunks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> list[Chunk]:
        """See retriever.upkeep.ports.ChunkAudit."""
        shard = self._shard(tenant, uid)
        if not await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
            return []
        found: list[Chunk] = []
        while True:
            last = found[-1].position if found else -1
            within = between(POSITION, last + 1, last + READ_OBJECTS)
            which = every([between(VERSION, version, version), within])
            request = search_get_pb2.SearchRequest(filters=which, limit=READ_OBJECTS, **_asking(shard, HIT_PROPERTIES))
            results = await self._engine.search(request, budget=budget)
            if not results:
                return found
            found += sorted((hit_of(each).chunk for each in results), key=lambda chunk: chunk.position)

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> int:
        """See retriever.ports.ChunkStore. In every class: a version that another embedder's class still held would be
        back as soon as that embedder is."""
        which, remaining, allowance = among(versions), 0, PURGE_OBJECTS
        for shard in await self._shards(tenant, uid, budget):
            if not await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
                continue
            request = search_get_pb2.SearchRequest(
                filters=which,
                limit=allowance,
                metadata=search_get_pb2.MetadataRequest(uuid=True),
                **_asking(shard, ()),
            )
            found = await self._engine.search(request, budget=budget) if allowance else ()
            if found:
                allowance -= len(found)
                doomed = with_ids([result.metadata.id for result in found])
                await self._engine.delete(shard.name, shard.tenant, doomed, budget=budget)
            remaining += await self._count(shard, which, budget)
        return remaining

    async def drop(self, tenant: str, uid: str, *, budget: Budget) -> None:
        """See retriever.ports.ChunkStore."""
        for shard in await self._shards(tenant, uid, budget):
            await self._engine.drop_tenant(shard.name, shard.tenant, budget=budget)

    def _shard(self, tenant: str, uid: str) -> Shard:
        return Shard(self._class, tenant_name(self._namespace, tenant, uid))

    async def _shards(self, tenant: str, uid: str, budget: Budget) -> list[Shard]:
        """Where chunks of this collection may be: its tenant in every class of ours."""
        name = tenant_name(self._namespace, tenant, uid)
        classes = [each["class"] for each in await self._engine.classes(budget=budget)]
        return [Shard(each, name) for each in classes if each.startswith(CLASS_PREFIX)]

    async def _count(self, shard: Shard, which: base_pb2.Filters, budget: Budget) -> int:
        try:
            return await self._engine.count(shard.name, shard.tenant, which, budget=budget)
        except SearchUnavailable:
            if await self._engine.has_tenant(shard.name, shard.tenant, budget=budget):
                raise
            return 0

    async def _have_class(self, budget: Budget) -> None:
        """Make the class where it is missing, before every write: Weaviate would make one by itself, of a shape it
        guesses from the first object."""
        await have_class(self._engine, self._class, budget=budget)


async def have_class(engine: Engine, name: str, *, budget: Budget) -> None:
    """Make a class where it is missing. Raises SearchUnavailable where it is there in another shape."""
    wanted = class_definition(name)
    found = await engine.read_class(name, budget=budget)
    if found is None:
        await engine.create_class(wanted, budget=budget)
        found = await engine.read_class(name, budget=budget)
    if found is None or not _covers(found, wanted):
        raise SearchUnavailable(f"{PLACE}: the store's class was made by something else; remove or rename it")


async def dim_of(engine: Engine, shard: Shard, *, budget: Budget) -> int:
    """The length of the vectors of a shard; 0 where it holds none."""
    if not await engine.has_tenant(shard.name, shard.tenant, budget=budget):
        return 0
    request = search_get_pb2.SearchRequest(
        filters=between(POSITION, 0, MAX_POSITION),
        limit=1,
        metadata=search_get_pb2.MetadataRequest(vector=True),
        **_asking(shard, ()),
    )
    results = await engine.search(request, budget=budget)
    return len(vector_of(results[0])) if results else 0


def _divided(versions: tuple[int, int], positions: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Two parts of a part: by versions, and by positions within a single one."""
    if versions[0] < versions[1]:
        return [(half, positions) for half in _halves(*versions)]
    return [(versions, half) for half in _halves(*positions)]


def _halves(first: int, last: int) -> tuple[tuple[int, int], tuple[int, int]]:
    middle = (first + last) // 2
    return (first, middle), (middle + 1, last)


def _covers(found: Any, wanted: Any) -> bool:
    """Everything that was asked for is there, whatever Weaviate added."""
    match wanted:
        case dict():
            return isinstance(found, dict) and all(_covers(found.get(key), value) for key, value in wanted.items())
        case [dict(), *_]:
            named = {each["name"]: each for each in found} if isinstance(found, list) else {}
            return all(_covers(named.get(each["name"]), each) for each in wanted)
        case _:
            return bool(found == wanted)


def _asking(shard: Shard, properties: Sequence[str]) -> dict[str, Any]:
    return {
        "collection": shard.name,
        "tenant": shard.tenant,
        "properties": search_get_pb2.PropertiesRequest(non_ref_properties=properties),
        "uses_123_api": True,
        "uses_125_api": True,
        "uses_127_api": True,
    }


def with_ids(ids: Sequence[str]) -> base_pb2.Filters:
    """The objects of these ids."""
    return base_pb2.Filters(
        operator=base_pb2.Filters.OPERATOR_CONTAINS_ANY,
        target=base_pb2.FilterTarget(property="_id"),
        value_text_array=base_pb2.TextArray(values=ids),
    )
