"""What replicas share: one Redis, for whichever of cache, snapshot mirror and flights is to be kept there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from chassis.errors import SettingsInvalid
from orchestrator.settings import OrchestratorSettings


@dataclass(frozen=True, slots=True)
class SharedRedis:
    """An open client, and what signs everything that is kept through it.

    Attributes:
        client: A redis.asyncio.Redis; not named here, since processes without one need no such package.
    """

    client: Any
    secret: bytes


def open_shared(settings: OrchestratorSettings, stack: AsyncExitStack) -> SharedRedis | None:
    """The Redis of these settings, None where nothing is to be kept in one; closed by `stack`.

    Opens no connection: a Redis that is down at the start is down like any other time.

    Raises:
        SettingsInvalid: something is to be kept in Redis without a secret, or by a URL that is none.
    """
    users = [name for name in ("cache", "mirror", "flights") if getattr(settings, name) == "redis"]
    if not users:
        return None
    # Imported here: the client is installed with askmesh[cluster] only.
    from chassis.redis_client import MIN_SECRET_CHARS, open_redis  # noqa: PLC0415

    secret = settings.redis_secret.get_secret_value()
    if len(secret) < MIN_SECRET_CHARS:
        raise SettingsInvalid(
            f"ASKMESH_ORCHESTRATOR_REDIS_SECRET: {MIN_SECRET_CHARS} characters or more are required with "
            + " and ".join(f"{name}=redis" for name in users)
        )
    url = settings.redis_url.get_secret_value() or f"redis://{settings.redis_host}:{settings.redis_port}"
    try:
        client = open_redis(url, timeout_s=settings.redis_timeout_ms / 1_000)
    except ValueError:
        # Without its cause: the driver's words hold the URL, and the URL a password.
        raise SettingsInvalid("ASKMESH_ORCHESTRATOR_REDIS_URL is not a URL of Redis") from None
    stack.push_async_callback(client.aclose)
    return SharedRedis(client, secret.encode())
