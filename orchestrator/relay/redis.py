"""The replicas' board in Redis: a claim, a list of signed chunks and a note of who listens; all three expire.

Rule 1: every step is one script. A holder whose claim is no longer its own can tell nothing.
Rule 2: a chunk is believed after its HMAC-SHA256 over flight, token and number was checked.
Rule 3: what lies under our keys and is not ours (another type, no expiry) is removed by the next claim.
Rule 4: a flight tells MAX_CHUNKS chunks of MAX_CHUNK_BYTES at most; after that it is lost to those who follow.

Does not: encrypt; run on a Redis Cluster (a script reaches several keys).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import Redis

from chassis.redis_client import FAILURES
from orchestrator.board import BoardUnavailable, Chunk, Heard, Over

VERSION: Final = 1  # of what chunks hold
PREFIX: Final = f"askmesh:flights:{VERSION}:"
CLAIM_S: Final = 2.5  # a holder beats 25 times in it: a stall of a shared machine is not taken for its death
LATECOMERS_S: Final = 1.0  # who looked into the cache before the answer was there asks for the flight by then
LOG_S: Final = 10.0  # after the last chunk; followers look every 25 ms
WANT_S: Final = 1.0
MAX_CHUNK_BYTES: Final = 512 << 10  # as the cache's entries
MAX_CHUNKS: Final = 24_000  # ten minutes at one every 25 ms
MAC_BYTES: Final = 32
_DOMAIN: Final = b"askmesh flight"  # the secret signs other things too; none of them is a chunk

# KEYS of all: claim, log, want.
_CLAIM = """
local left_ms = redis.call('PTTL', KEYS[1])
local is_ours = left_ms >= 0 and left_ms <= tonumber(ARGV[2]) and redis.call('TYPE', KEYS[1]).ok == 'string'
if not is_ours then redis.call('DEL', KEYS[1]) end
local holder = redis.call('GET', KEYS[1])
if holder then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""

# ARGV: token, claim_ms, over, latecomers_ms, log_ms, chunk's number or -1, chunk. A chunk that is there already is the
# same one, whose answer was lost.
_BEAT = """
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local number = tonumber(ARGV[6])
if number >= 0 then
  local kind = redis.call('TYPE', KEYS[2]).ok
  if kind ~= 'list' and kind ~= 'none' then redis.call('DEL', KEYS[2]) end
  local told = redis.call('LLEN', KEYS[2])
  if told == number then redis.call('RPUSH', KEYS[2], ARGV[7])
  elseif told ~= number + 1 then redis.call('DEL', KEYS[1]) return -1 end
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
if ARGV[3] == '' then redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif ARGV[3] == 'whole' then redis.call('PEXPIRE', KEYS[1], ARGV[4])
else redis.call('DEL', KEYS[1]) end
if redis.call('TYPE', KEYS[3]).ok ~= 'string' then return 0 end
return tonumber(redis.call('GET', KEYS[3])) or 0
"""

# ARGV: token, position, wanted_ms, want_ms
_HEAR = """
local is_held = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) == ARGV[1]
local chunks = redis.call('TYPE', KEYS[2]).ok == 'list' and redis.call('LRANGE', KEYS[2], ARGV[2], -1) or {}
if is_held and tonumber(ARGV[3]) > 0 then
  local known = redis.call('TYPE', KEYS[3]).ok == 'string' and tonumber(redis.call('GET', KEYS[3])) or 0
  redis.call('SET', KEYS[3], math.max(known, tonumber(ARGV[3])), 'PX', ARGV[4])
end
return {is_held and 1 or 0, chunks}
"""


class RedisFlightBoard:
    """A FlightBoard.

    Args:
        client: From `chassis.redis_client.open_redis`; the caller closes it.
        secret: The same in all replicas.
        claim_s: How long a claim lives without a beat.
    """

    def __init__(self, client: Redis, secret: bytes, *, claim_s: float = CLAIM_S) -> None:
        self._secret = secret
        self._claim_ms = round(claim_s * 1_000)
        self._claim = client.register_script(_CLAIM)
        self._beat = client.register_script(_BEAT)
        self._hear = client.register_script(_HEAR)

    async def claim(self, flight: str, token: str) -> str:
        async with _translated():
            holder: Any = await self._claim(keys=_keys(flight, token), args=[token, self._claim_ms])
        return bytes(holder).decode("ascii", "replace")

    async def beat(self, flight: str, token: str, chunk: Chunk | None, *, over: Over = Over.NOT) -> float | None:
        number, content = (-1, b"") if chunk is None else (chunk.number, chunk.content)
        if len(content) > MAX_CHUNK_BYTES or number >= MAX_CHUNKS:
            return None
        sealed = self._mac(flight, token, number, content) + content
        times = (round(LATECOMERS_S * 1_000), round(LOG_S * 1_000))
        args: list[str | int | bytes] = [token, self._claim_ms, over.value, *times, number, sealed]
        async with _translated():
            wanted_ms: Any = await self._beat(keys=_keys(flight, token), args=args)
        return None if wanted_ms < 0 else wanted_ms / 1_000

    async def hear(self, flight: str, token: str, position: int, *, wanted_s: float) -> Heard:
        args: list[str | int] = [token, position, round(wanted_s * 1_000), round(WANT_S * 1_000)]
        async with _translated():
            reply: Any = await self._hear(keys=_keys(flight, token), args=args)
        is_held, sealed = reply
        chunks: list[bytes] = []
        for number, each in enumerate(sealed, start=position):
            mac, content = each[:MAC_BYTES], each[MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(flight, token, number, content)):
                return Heard(tuple(chunks), bool(is_held), is_broken=True)
            chunks.append(content)
        return Heard(tuple(chunks), bool(is_held))

    def _mac(self, flight: str, token: str, number: int, content: bytes) -> bytes:
        signed = hmac.new(self._secret, _DOMAIN, hashlib.sha256)
        place = f"{flight}/{token}/{number}".encode()
        signed.update(hashlib.sha256(place).digest())  # of fixed length: nothing runs into the content
        signed.update(content)
        return signed.digest()


def _keys(flight: str, token: str) -> list[str]:
    return [f"{PREFIX}claim:{flight}", f"{PREFIX}log:{flight}:{token}", f"{PREFIX}want:{flight}:{token}"]


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except FAILURES as exc:
        raise BoardUnavailable("the replicas' board did not answer") from exc
