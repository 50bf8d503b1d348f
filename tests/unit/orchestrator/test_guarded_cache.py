"""A cache behind its breaker."""

from __future__ import annotations

import asyncio

import pytest

from chassis.breaker import Breaker, Thresholds
from chassis.budget import Budget
from chassis.errors import CacheUnavailable
from orchestrator.cache.guarded import GuardedCache
from orchestrator.types import CacheKey
from tests.unit.orchestrator.virtual import now, virtual

KEY = CacheKey("p", "q")


class Hanging:
    def __init__(self) -> None:
        self.calls = 0
        self.hangs = True

    async def get(self, key, *, budget):
        self.calls += 1
        if self.hangs:
            await asyncio.sleep(3_600)


def guarded(inner):
    breaker = Breaker("cache", now, error=CacheUnavailable, thresholds=Thresholds(min_calls=10, open_s=1.0))
    return GuardedCache(inner, breaker)


async def refused(cache):
    began = now()
    with pytest.raises(CacheUnavailable):
        await cache.get(KEY, budget=Budget.of(0.05, now))
    return now() - began


@virtual
async def test_a_hanging_cache_costs_its_budget_and_no_more():
    assert await refused(guarded(Hanging())) == pytest.approx(0.05)


@virtual
async def test_after_ten_failures_it_costs_nothing_and_is_not_asked():
    inner = Hanging()
    cache = guarded(inner)
    for _ in range(10):
        await refused(cache)
    assert await refused(cache) == 0
    assert inner.calls == 10


@virtual
async def test_a_probe_is_made_beside_the_asks_and_costs_none_of_them():
    inner = Hanging()
    cache = guarded(inner)
    for _ in range(10):
        await refused(cache)
    await asyncio.sleep(1.1)
    for _ in range(5):
        assert await refused(cache) == 0
    await asyncio.sleep(0.01)
    assert inner.calls == 11


@virtual
async def test_once_it_answers_a_probe_it_is_used_again():
    inner = Hanging()
    cache = guarded(inner)
    for _ in range(10):
        await refused(cache)
    inner.hangs = False
    await asyncio.sleep(1.1)
    await refused(cache)
    await asyncio.sleep(0.01)
    assert await cache.get(KEY, budget=Budget.of(0.05, now)) is None
    assert inner.calls == 12
