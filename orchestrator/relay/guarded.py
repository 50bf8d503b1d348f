"""A board behind a circuit breaker: while it is down an ask makes its answer as if there were none."""

from __future__ import annotations

from chassis.breaker import Breaker, State
from orchestrator.board import Chunk, Heard, Over
from orchestrator.ports import FlightBoard


class GuardedFlightBoard:
    """Decorates any FlightBoard.

    Args:
        breaker: Made with error=BoardUnavailable.
    """

    def __init__(self, inner: FlightBoard, breaker: Breaker) -> None:
        self._inner = inner
        self._breaker = breaker

    async def claim(self, flight: str, token: str) -> str:
        if self._breaker.state is State.HALF_OPEN:
            # Looked for with what leaves nothing behind: a claim made beside this ask would be nobody's.
            await self._breaker.call_or_probe(lambda: self._inner.hear(flight, token, 0, wanted_s=0.0))
        return await self._breaker.call(lambda: self._inner.claim(flight, token))

    async def beat(self, flight: str, token: str, chunk: Chunk | None, *, over: Over = Over.NOT) -> float | None:
        return await self._breaker.call(lambda: self._inner.beat(flight, token, chunk, over=over))

    async def hear(self, flight: str, token: str, position: int, *, wanted_s: float) -> Heard:
        return await self._breaker.call(lambda: self._inner.hear(flight, token, position, wanted_s=wanted_s))
