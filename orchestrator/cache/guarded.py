"""A cache behind a circuit breaker: while it is down an ask pays nothing but the answer's making.

Whether it is back is found out beside the asks, not in one of them: a cache that hangs costs its timeout, and with a
breaker that looks four times a second that would be one ask in five.

Decorates any AnswerCache. The pipeline's budgets bound every call; a cache that overruns them counts as failing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chassis.breaker import Breaker
from chassis.budget import Budget
from chassis.errors import CacheUnavailable
from orchestrator.ports import AnswerCache
from orchestrator.types import CachedAnswer, CacheKey, Candidate

Result = TypeVar("Result")


class GuardedCache:
    """Every failure of the inner cache leaves as CacheUnavailable.

    Args:
        inner: The cache.
        breaker: Made with error=CacheUnavailable.
    """

    def __init__(self, inner: AnswerCache, breaker: Breaker) -> None:
        self._inner = inner
        self._breaker = breaker

    async def get(self, key: CacheKey, *, budget: Budget) -> CachedAnswer | None:
        return await self._within(budget, lambda: self._inner.get(key, budget=budget))

    async def similar(self, key: CacheKey, vector: Sequence[float], limit: int, *, budget: Budget) -> list[Candidate]:
        return await self._within(budget, lambda: self._inner.similar(key, vector, limit, budget=budget))

    async def put(self, key: CacheKey, answer: CachedAnswer, *, budget: Budget) -> None:
        await self._within(budget, lambda: self._inner.put(key, answer, budget=budget))

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> bool:
        return await self._within(budget, lambda: self._inner.evict(tenant, collection, answer_id, budget=budget))

    async def _within(self, budget: Budget, work: Callable[[], Awaitable[Result]]) -> Result:
        async def timed() -> Result:
            try:
                async with asyncio.timeout(budget.remaining_s()):
                    return await work()
            except TimeoutError as exc:
                raise CacheUnavailable("the answer cache did not answer in time") from exc

        return await self._breaker.call_or_probe(timed)
