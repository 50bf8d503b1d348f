"""How every part of the system reaches Redis: a client that fails fast and never tries twice.

A failover is followed where its name is: a server that says it has become a replica is left, and the next call finds
whom the URL's name stands for now.

Does not: run on a Redis Cluster (scripts here reach several keys), or ask Sentinels.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError

# As many calls as a replica works on at once (chassis' max_concurrency) and their stores; one more waits.
MAX_CONNECTIONS: Final = 100
# What a call ends with where Redis is not there. RuntimeError is a transport's that was closed under the driver (a
# connection that broke while it was made sure of).
FAILURES: Final = (RedisError, OSError, TimeoutError, RuntimeError)
MIN_SECRET_CHARS: Final = 16  # of what signs values in Redis: a shorter one can be found by trying


def open_redis(url: str, *, timeout_s: float = 0.05) -> Redis:
    """A client that fails fast: redis-py as it comes takes 4.3 s where Redis is down and 30 s where it hangs.

    Args:
        timeout_s: For connecting and for each reply.
    Raises:
        ValueError: the URL is none of Redis.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # the replies of FT.SEARCH differ between protocols; this one has a single shape in every version
    )
    return _FailoverClient.from_pool(pool)


class _FailoverClient(Redis):
    """Redis keeps its clients when it is made a replica, and redis-py keeps those connections for good."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's own
        except ReadOnlyError:
            with suppress(RedisError, OSError):
                await self.connection_pool.disconnect(inuse_connections=False)
            raise
