"""Which answer cache an orchestrator has: the arms of `settings.cache`."""

from __future__ import annotations

from chassis.breaker import OPTIONAL, Breaker
from chassis.errors import CacheUnavailable
from chassis.telemetry import Telemetry
from orchestrator.cache.guarded import GuardedCache
from orchestrator.cache.memory import MemoryAnswerCache
from orchestrator.cache.observed import ObservedCache
from orchestrator.metrics import CACHE_NOT_STORED, CACHE_REJECTED
from orchestrator.ports import AnswerCache
from orchestrator.settings import OrchestratorSettings
from orchestrator.shared import SharedRedis


def open_cache(settings: OrchestratorSettings, telemetry: Telemetry, shared: SharedRedis | None) -> AnswerCache | None:
    """The cache the settings name, behind its breaker."""
    match settings.cache:
        case "off":
            return None
        case "memory":
            return _guarded(_memory_cache(settings), telemetry)
        case "redis":
            assert shared is not None, "opened for whoever says redis"
            return _guarded(_redis_cache(settings, telemetry, shared), telemetry)


def _guarded(inner: AnswerCache, telemetry: Telemetry) -> AnswerCache:
    breaker = Breaker("answer cache", error=CacheUnavailable, thresholds=OPTIONAL, telemetry=telemetry)
    return ObservedCache(GuardedCache(inner, breaker), telemetry)


def _memory_cache(settings: OrchestratorSettings) -> AnswerCache:
    return MemoryAnswerCache(max_entries=settings.cache_max_entries, ttl_s=settings.cache_ttl_s)


def _redis_cache(settings: OrchestratorSettings, telemetry: Telemetry, shared: SharedRedis) -> AnswerCache:
    from orchestrator.cache.redis import Counts, RedisAnswerCache  # noqa: PLC0415  # with askmesh[cluster] only

    telemetry.declare(CACHE_REJECTED, CACHE_NOT_STORED)
    counts = Counts(telemetry.counter(CACHE_REJECTED).inc, telemetry.counter(CACHE_NOT_STORED).inc)
    return RedisAnswerCache(
        shared.client,
        shared.secret,
        max_entries=settings.cache_max_entries,
        ttl_s=settings.cache_ttl_s,
        counts=counts,
    )
