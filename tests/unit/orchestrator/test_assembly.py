"""What the settings make of the pipeline's limits."""

from __future__ import annotations

import time
from contextlib import aclosing

import pytest

from chassis.budget import Budget
from chassis.settings import load
from orchestrator.assembly import Leaves, assemble
from orchestrator.cache.memory import MemoryAnswerCache
from orchestrator.settings import OrchestratorSettings
from orchestrator.tokens import EstimatedTokenCounter
from tests.unit.orchestrator.world import FakeEmbedder, FakeGenerator, FakeRetriever, question


class NotingCache(MemoryAnswerCache):
    """Notes how long each call may take."""

    def __init__(self) -> None:
        super().__init__(ttl_s=600, clock=time.monotonic)
        self.allowed_s: dict[str, float] = {}

    async def get(self, key, *, budget):
        self.allowed_s["get"] = budget.remaining_s()
        return await super().get(key, budget=budget)

    async def similar(self, key, vector, limit, *, budget):
        self.allowed_s["similar"] = budget.remaining_s()
        return await super().similar(key, vector, limit, budget=budget)

    async def put(self, key, answer, *, budget):
        self.allowed_s["put"] = budget.remaining_s()
        return await super().put(key, answer, budget=budget)


class NotingRetriever(FakeRetriever):
    """Notes how long a retrieval may take."""

    allowed_s = 0.0

    async def retrieve(self, question, vector, fingerprint, *, budget):
        self.allowed_s = budget.remaining_s()
        return await super().retrieve(question, vector, fingerprint, budget=budget)


async def asked(settings, *, cache=None, retriever=None) -> None:
    model, retriever = FakeGenerator(), retriever or FakeRetriever()
    leaves = Leaves(
        snapshots=retriever,
        retriever=retriever,
        embedder=FakeEmbedder(),
        model=model,
        fallback=model,
        cache=cache,
        counter=EstimatedTokenCounter(),
    )
    pipeline = assemble(load(OrchestratorSettings, **settings), leaves)
    async with aclosing(pipeline.ask(question(), budget=Budget.of(30))) as events:
        async for _ in events:
            pass


@pytest.mark.parametrize(
    ("given", "least_s", "most_s"),
    [
        ({"cache": "redis", "redis_timeout_ms": 2_000}, 1.0, 2.0),
        ({"cache": "redis"}, 0.0, 0.050),
        ({"cache": "redis", "redis_timeout_ms": 5}, 0.005, 0.050),
        ({"cache": "memory", "redis_timeout_ms": 2_000}, 0.0, 0.050),
    ],
)
async def test_a_call_of_the_cache_may_take_what_the_settings_give_redis(given, least_s, most_s):
    cache = NotingCache()
    await asked(given, cache=cache)
    assert set(cache.allowed_s) == {"get", "similar", "put"}
    assert all(least_s < allowed_s <= most_s for allowed_s in cache.allowed_s.values())


@pytest.mark.parametrize("milliseconds", [20, 100, 250, 2_000])
async def test_a_retrieval_may_take_what_the_settings_say(milliseconds):
    retriever = NotingRetriever()
    await asked({"retrieve_timeout_ms": milliseconds}, retriever=retriever)
    assert 0 < retriever.allowed_s <= milliseconds / 1_000
