"""A mirror's values, signed and dated: what this installation did not write, or wrote long ago, is no value.

Rule 1: a value is believed only after its HMAC-SHA256 over name, time and content was checked.
Rule 2: it is believed for MAX_AGE_S by the wall clocks of who wrote and who reads it. Not needed while the store keeps
        its promises: it bounds what a store gives back that lagged, stepped back in time, or is being written to by
        somebody who kept an old value.
Rule 3: what is not believed is deleted, in the protocol's own way.

Does not: encrypt.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
import uuid
from collections.abc import Callable
from typing import Final

from chassis.budget import Clock
from chassis.mirror import TTL_S, MirrorStore, Reading

MAC_BYTES: Final = 32
MAX_AGE_S: Final = TTL_S + 3.0  # wall clocks of one cluster run apart by milliseconds; seconds mean a broken one
_DOMAIN: Final = b"askmesh snapshot mirror"  # the secret signs other things too; none of them is a mirrored value
_MARK_DOMAIN: Final = b"askmesh snapshot mirror's mark"
_DATE: Final = struct.Struct(">d")


def mark_of(secret: bytes) -> str:
    """Names the mirror that this secret signs, without telling the secret."""
    return hmac.new(secret, _MARK_DOMAIN, hashlib.sha256).hexdigest()[:16]


class SealedMirrorStore:
    """Decorates any MirrorStore.

    Args:
        secret: The same for all who fill and read.
        on_rejected: Told of every value that is not believed.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        inner: MirrorStore,
        secret: bytes,
        *,
        on_rejected: Callable[[], None] = lambda: None,
        wall: Clock = time.time,
    ) -> None:
        self._inner = inner
        self._secret = secret
        self._on_rejected = on_rejected
        self._wall = wall

    async def read(self, name: str, token: str) -> Reading:
        reading = await self._inner.read(name, token)
        if reading.value is None:
            return reading
        value = self._opened(name, reading.value)
        if value is None:
            self._on_rejected()
            mark = uuid.uuid4().hex
            await self._inner.begin(name, mark)
            await self._inner.end(name, mark)
        return Reading(value)

    async def fill(self, name: str, token: str, value: bytes) -> bool:
        dated = _DATE.pack(self._wall()) + value
        return await self._inner.fill(name, token, self._mac(name, dated) + dated)

    async def begin(self, name: str, mark: str) -> None:
        await self._inner.begin(name, mark)

    async def end(self, name: str, mark: str) -> None:
        await self._inner.end(name, mark)

    def _opened(self, name: str, sealed: bytes) -> bytes | None:
        mac, dated = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(name, dated)):
            return None
        (written_at,) = _DATE.unpack_from(dated)
        return dated[_DATE.size :] if abs(self._wall() - written_at) <= MAX_AGE_S else None

    def _mac(self, name: str, dated: bytes) -> bytes:
        signed = hmac.new(self._secret, _DOMAIN, hashlib.sha256)
        signed.update(hashlib.sha256(name.encode()).digest())  # of fixed length: nothing runs into the content
        signed.update(dated)
        return signed.digest()
