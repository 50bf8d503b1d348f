"""MemoryAnswerCache, alone and behind its guard; no exceptions to the suite."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chassis.breaker import Breaker
from chassis.errors import CacheUnavailable
from orchestrator.cache.guarded import GuardedCache
from orchestrator.cache.memory import MemoryAnswerCache
from orchestrator.ports import AnswerCache
from orchestrator.types import CacheKey
from tests.contract.cache.suite import KEY, AnswerCacheSuite, answer, budget, unit


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Subject:
    cache: AnswerCache
    clock: Clock
    ttl_s: float = field(default=600.0)

    async def pass_time(self, seconds):
        self.clock.now += seconds


class TestMemory(AnswerCacheSuite):
    @pytest.fixture
    def subject(self):
        clock = Clock()
        return Subject(MemoryAnswerCache(ttl_s=600.0, clock=clock), clock)


class TestGuardedMemory(AnswerCacheSuite):
    @pytest.fixture
    def subject(self):
        clock = Clock()
        inner = MemoryAnswerCache(ttl_s=600.0, clock=clock)
        return Subject(GuardedCache(inner, Breaker("cache", clock, error=CacheUnavailable)), clock)


def key(number):
    return CacheKey(KEY.partition, f"q{number}")


async def test_the_least_recently_used_entry_goes_first():
    cache = MemoryAnswerCache(max_entries=3)
    for number in range(3):
        await cache.put(key(number), answer(f"a-{number}", vector=unit(number)), budget=budget())
    await cache.get(key(0), budget=budget())
    await cache.put(key(3), answer("a-3", vector=unit(3)), budget=budget())
    found = [await cache.get(key(number), budget=budget()) for number in range(4)]
    assert [entry is not None for entry in found] == [True, False, True, True]
    near = await cache.similar(KEY, unit(1), 10, budget=budget())
    assert {candidate.answer.answer_id for candidate in near} == {"a-0", "a-2", "a-3"}


async def test_vectors_and_keys_stay_together_through_many_puts_and_evictions():
    cache = MemoryAnswerCache(max_entries=40)
    for number in range(200):
        await cache.put(key(number), answer(f"a-{number}", vector=unit(number)), budget=budget())
        if number % 3 == 0:
            await cache.evict("acme", "docs", f"a-{number - 5}", budget=budget())
    for number in range(200):
        kept = await cache.get(key(number), budget=budget())
        [nearest] = await cache.similar(KEY, unit(number), 1, budget=budget())
        assert (nearest.similarity > 0.999) == (kept is not None)
        assert kept is None or nearest.answer.answer_id == f"a-{number}"
    assert len(cache) <= 40
