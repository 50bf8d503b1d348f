"""The mirror's store in Redis: every step is one script, every name three keys.

Needs Redis' own wall clock not to step back, and no failover to a replica that lags: see chassis.mirror.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import Redis

from chassis.mirror import MARK_S, TTL_S, MirrorUnavailable, Reading
from chassis.redis_client import FAILURES

PREFIX: Final = "askmesh:mirror:1:"

# KEYS of all: value, token, marks. Whatever lies under them is ours only with the right type and an expiry; deleting
# anything there is always safe (chassis.mirror), so what is not ours goes, and no forged key outlives the next step.
_READ = """
local function is_ours(key, kind) return redis.call('TYPE', key).ok == kind and redis.call('PTTL', key) >= 0 end
for i, kind in ipairs({'string', 'string', 'set'}) do
  if not is_ours(KEYS[i], kind) then redis.call('DEL', KEYS[i]) end
end
local value = redis.call('GET', KEYS[1])
if value then return {value, 0} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {false, 0} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, 1} end
return {false, 0}
"""

_FILL = """
if redis.call('TYPE', KEYS[2]).ok ~= 'string' or redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local left_ms = redis.call('PTTL', KEYS[2])
redis.call('DEL', KEYS[2])
if left_ms < 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', left_ms)
return 1
"""

_BEGIN = """
redis.call('DEL', KEYS[1], KEYS[2])
if redis.call('TYPE', KEYS[3]).ok ~= 'set' then redis.call('DEL', KEYS[3]) end
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
"""

# Allowed when memory is out: it only deletes.
_END = """#!lua flags=allow-oom
redis.call('DEL', KEYS[1], KEYS[2])
if redis.call('TYPE', KEYS[3]).ok == 'set' then redis.call('SREM', KEYS[3], ARGV[1]) else redis.call('DEL', KEYS[3]) end
return 1
"""


class RedisMirrorStore:
    """A MirrorStore.

    Args:
        client: With short timeouts and no retries: a step that is repeated is harmless, one that is waited for is not.
    """

    def __init__(self, client: Redis, *, ttl_s: float = TTL_S, mark_s: float = MARK_S) -> None:
        self._ttl_ms = round(ttl_s * 1_000)
        self._mark_ms = round(mark_s * 1_000)
        self._read = client.register_script(_READ)
        self._fill = client.register_script(_FILL)
        self._begin = client.register_script(_BEGIN)
        self._end = client.register_script(_END)

    async def read(self, name: str, token: str) -> Reading:
        async with _translated():
            reply: Any = await self._read(keys=_keys(name), args=[token, self._ttl_ms])
        value, is_filler = reply
        return Reading(value, bool(is_filler))

    async def fill(self, name: str, token: str, value: bytes) -> bool:
        async with _translated():
            return bool(await self._fill(keys=_keys(name), args=[token, value]))

    async def begin(self, name: str, mark: str) -> None:
        async with _translated():
            await self._begin(keys=_keys(name), args=[mark, self._mark_ms])

    async def end(self, name: str, mark: str) -> None:
        async with _translated():
            await self._end(keys=_keys(name), args=[mark])


def _keys(name: str) -> list[str]:
    return [f"{PREFIX}{part}:{name}" for part in ("value", "token", "marks")]


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except FAILURES as exc:
        raise MirrorUnavailable("the mirror did not answer") from exc
