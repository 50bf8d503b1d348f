"""A mirror's store behind a circuit breaker, for its readers: while it is down a read costs nothing.

Committers' steps always go through: rule 3 of chassis.mirror makes them wait for those that fail.
"""

from __future__ import annotations

from chassis.breaker import Breaker
from chassis.mirror import MirrorStore, Reading


class GuardedMirrorStore:
    """Decorates any MirrorStore.

    Args:
        breaker: Made with error=MirrorUnavailable.
    """

    def __init__(self, inner: MirrorStore, breaker: Breaker) -> None:
        self._inner = inner
        self._breaker = breaker

    async def read(self, name: str, token: str) -> Reading:
        return await self._breaker.call_or_probe(lambda: self._inner.read(name, token))

    async def fill(self, name: str, token: str, value: bytes) -> bool:
        return await self._inner.fill(name, token, value)

    async def begin(self, name: str, mark: str) -> None:
        await self._inner.begin(name, mark)

    async def end(self, name: str, mark: str) -> None:
        await self._inner.end(name, mark)
