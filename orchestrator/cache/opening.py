"""Which answer cache an orchestrator has: the arms of `settings.cache`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from chassis.breaker import OPTIONAL, Breaker
from chassis.errors import CacheUnavailable, SettingsInvalid
from chassis.telemetry import Telemetry
from orchestrator.cache.guarded import GuardedCache
from orchestrator.cache.memory import MemoryAnswerCache
from orchestrator.cache.observed import ObservedCache
from orchestrator.metrics import CACHE_NOT_STORED, CACHE_REJECTED
from orchestrator.ports import AnswerCache
from orchestrator.settings import OrchestratorSettings

MIN_SECRET_CHARS = 16  # a shorter one can be found by trying


def open_cache(settings: OrchestratorSettings, telemetry: Telemetry, stack: AsyncExitStack) -> AnswerCache | None:
    """The cache the settings name, behind its breaker; what it holds open is closed by `stack`.

    Raises:
        SettingsInvalid: cache=redis without a secret, or with a URL that is none.
    """
    match settings.cache:
        case "off":
            return None
        case "memory":
            return _guarded(_memory_cache(settings), telemetry)
        case "redis":
            return _guarded(_redis_cache(settings, telemetry, stack), telemetry)


def _guarded(inner: AnswerCache, telemetry: Telemetry) -> AnswerCache:
    breaker = Breaker("answer cache", error=CacheUnavailable, thresholds=OPTIONAL, telemetry=telemetry)
    return ObservedCache(GuardedCache(inner, breaker), telemetry)


def _memory_cache(settings: OrchestratorSettings) -> AnswerCache:
    return MemoryAnswerCache(max_entries=settings.cache_max_entries, ttl_s=settings.cache_ttl_s)


def _redis_cache(settings: OrchestratorSettings, telemetry: Telemetry, stack: AsyncExitStack) -> AnswerCache:
    """Opens no connection: a Redis that is down at the start is down like any other time."""
    # Imported here: the client is installed with askmesh[cluster] only.
    from chassis.redis_client import open_redis  # noqa: PLC0415
    from orchestrator.cache.redis import Counts, RedisAnswerCache  # noqa: PLC0415

    secret = settings.redis_secret.get_secret_value()
    if len(secret) < MIN_SECRET_CHARS:
        raise SettingsInvalid(
            f"ASKMESH_ORCHESTRATOR_REDIS_SECRET: {MIN_SECRET_CHARS} characters or more are required with cache=redis"
        )
    url = settings.redis_url.get_secret_value() or f"redis://{settings.redis_host}:{settings.redis_port}"
    try:
        client = open_redis(url, timeout_s=settings.redis_timeout_ms / 1_000)
    except ValueError:
        # Without its cause: the driver's words hold the URL, and the URL a password.
        raise SettingsInvalid("ASKMESH_ORCHESTRATOR_REDIS_URL is not a URL of Redis") from None
    stack.push_async_callback(client.aclose)
    telemetry.declare(CACHE_REJECTED, CACHE_NOT_STORED)
    counts = Counts(telemetry.counter(CACHE_REJECTED).inc, telemetry.counter(CACHE_NOT_STORED).inc)
    return RedisAnswerCache(
        client,
        secret.encode(),
        max_entries=settings.cache_max_entries,
        ttl_s=settings.cache_ttl_s,
        counts=counts,
    )
