"""Counts and times what is asked of a cache. Decorates any AnswerCache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chassis.budget import Budget
from chassis.errors import RagError
from chassis.telemetry import Telemetry
from orchestrator import metrics
from orchestrator.ports import AnswerCache
from orchestrator.types import CachedAnswer, CacheKey, Candidate


class ObservedCache:
    """The same cache; failures are counted even where the pipeline can say nothing of them (storing an answer)."""

    def __init__(self, inner: AnswerCache, telemetry: Telemetry) -> None:
        telemetry.declare(*metrics.METRICS)
        self._inner = inner
        self._telemetry = telemetry

    async def get(self, key: CacheKey, *, budget: Budget) -> CachedAnswer | None:
        with self._observed("get"):
            return await self._inner.get(key, budget=budget)

    async def similar(self, key: CacheKey, vector: Sequence[float], limit: int, *, budget: Budget) -> list[Candidate]:
        with self._observed("similar"):
            return await self._inner.similar(key, vector, limit, budget=budget)

    async def put(self, key: CacheKey, answer: CachedAnswer, *, budget: Budget) -> None:
        with self._observed("put"):
            await self._inner.put(key, answer, budget=budget)

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> bool:
        with self._observed("evict"):
            return await self._inner.evict(tenant, collection, answer_id, budget=budget)

    @contextmanager
    def _observed(self, operation: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except RagError:
            self._telemetry.counter(metrics.CACHE_FAILURES).labels(operation).inc()
            raise
        finally:
            self._telemetry.histogram(metrics.CACHE_SECONDS).labels(operation).observe(time.perf_counter() - began)
