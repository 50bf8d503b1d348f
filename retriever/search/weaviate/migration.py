"""Copies what Weaviate holds in layout 1 into the current one: the same objects, under names that say whose they are.

Rule 1: collections are found by their heads, for a shard of layout 1 does not say whose it is.
Rule 2: a shard is removed only when everything in it is in the new one. Broken off, it is copied again; objects replace
        themselves, and what was deleted from the old shard meanwhile is deleted from the new one.
Rule 3: nobody may write to the old shards meanwhile: retrievers of the older version are stopped first. What one writes
        all the same is missing in the new shard, and `collections verify --repair` brings it back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import numpy as np
from weaviate.proto.v1.v6300.v1 import search_get_pb2

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from retriever.ports import HeadSurvey
from retriever.search.weaviate.dense import have_class, with_ids
from retriever.search.weaviate.engine import Engine
from retriever.search.weaviate.failures import PLACE
from retriever.search.weaviate.layout import (
    CLASS_PREFIX,
    LAYOUT_VERSION,
    MARKER_ID,
    OLD_CLASS_PREFIX,
    old_tenant_name,
    tenant_name,
)
from retriever.search.weaviate.objects import HIT_PROPERTIES, Shard, batch, hit_of, marker, vector_of
from retriever.upkeep.findings import Progress
from retriever.upkeep.ports import STEP_S
from retriever.upkeep.sweep import every_head

PAGE: Final = 100  # with their texts and vectors, half of what one message may have


class WeaviateMigration:
    """Moves every shard of one installation."""

    def __init__(self, engine: Engine, heads: HeadSurvey, *, namespace: str) -> None:
        self._engine = engine
        self._heads = heads
        self._namespace = namespace
        self.migrated = 0
        self.current = 0

    async def migrate(self, *, budget: Budget) -> AsyncIterator[Progress]:
        """Move what is in layout 1."""
        names = [each["class"] for each in await self._engine.classes(budget=budget)]
        old = [name for name in names if name.startswith(OLD_CLASS_PREFIX)]
        uids = [(head.tenant, uid) for head in await every_head(self._heads, budget=budget) for uid in head.uids]
        for done, (tenant, uid) in enumerate(uids):
            for name in old:
                source = Shard(name, old_tenant_name(self._namespace, tenant, uid))
                if await self._engine.has_tenant(source.name, source.tenant, budget=budget.within(STEP_S)):
                    await self._move(source, tenant_name(self._namespace, tenant, uid), budget)
                    self.migrated += 1
            yield Progress("weaviate", done + 1, len(uids))
        self.current = len(uids) - self.migrated

    async def _move(self, source: Shard, tenant: str, budget: Budget) -> None:
        name = f"{CLASS_PREFIX}{LAYOUT_VERSION}_{source.name.removeprefix(OLD_CLASS_PREFIX)}"
        await have_class(self._engine, name, budget=budget.within(STEP_S))
        target, held = Shard(name, tenant), set()
        async for page in self._pages(source, HIT_PROPERTIES, budget):
            held |= {each.metadata.id for each in page}
            hits = [hit_of(each) for each in page]
            vectors = np.array([vector_of(each) for each in page])
            rows = [(hit.document, hit.chunk) for hit in hits]
            await self._engine.store(batch(target, rows, vectors), budget=budget.within(STEP_S))
        await self._engine.store([marker(target)], budget=budget.within(STEP_S))  # see dense.py, rule 1
        await self._remove_others(target, held, budget)
        await self._engine.drop_tenant(source.name, source.tenant, budget=budget.within(STEP_S))

    async def _remove_others(self, target: Shard, held: set[str], budget: Budget) -> None:
        """Delete what was copied by a run before and is gone from the old shard; require all the rest."""
        found: set[str] = set()
        async for page in self._pages(target, (), budget):
            ids = {each.metadata.id for each in page}
            if gone := sorted(ids - held):
                await self._engine.delete(target.name, target.tenant, with_ids(gone), budget=budget.within(STEP_S))
            found |= ids & held
        if found != held:
            raise SearchUnavailable(f"{PLACE}: the copy of a shard is not complete; run the migration again")

    async def _pages(
        self, shard: Shard, properties: Sequence[str], budget: Budget
    ) -> AsyncIterator[Sequence[search_get_pb2.SearchResult]]:
        """Every object that is a chunk, by id."""
        after = ""
        while True:
            request = search_get_pb2.SearchRequest(
                collection=shard.name,
                tenant=shard.tenant,
                after=after,
                limit=PAGE,
                metadata=search_get_pb2.MetadataRequest(uuid=True, vector=bool(properties)),
                properties=search_get_pb2.PropertiesRequest(non_ref_properties=properties),
                uses_123_api=True,
                uses_125_api=True,
                uses_127_api=True,
            )
            page = await self._engine.search(request, budget=budget.within(STEP_S))
            if not page:
                return
            after = page[-1].metadata.id
            if chunks := [each for each in page if each.metadata.id != MARKER_ID]:
                yield chunks
