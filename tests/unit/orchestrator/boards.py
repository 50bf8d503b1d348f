"""A FlightBoard in memory, on the tests' clock; tests/contract/relay holds it to what the real one does."""

from __future__ import annotations

from dataclasses import dataclass, field

from chassis.budget import Clock
from orchestrator.board import BoardUnavailable, Heard, Over

CLAIM_S, LATECOMERS_S, WANT_S = 2.5, 1.0, 1.0


@dataclass
class MemoryFlightBoard:
    """`is_down` makes it fail every step."""

    clock: Clock
    claims: dict[str, tuple[str, float]] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    wants: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    is_down: bool = False
    told: int = 0

    async def claim(self, flight, token):
        self._check()
        holder = self._holder(flight)
        if holder is None:
            self.claims[flight] = (token, self.clock() + CLAIM_S)
        return holder or token

    async def beat(self, flight, token, chunk, *, over=Over.NOT):
        self._check()
        if self._holder(flight) != token:
            return None
        if chunk is not None:
            log = self.logs.setdefault((flight, token), [])
            if len(log) == chunk.number:
                log.append(chunk.content)
                self.told += 1
            elif len(log) != chunk.number + 1:
                del self.claims[flight]
                return None
        match over:
            case Over.NOT:
                self.claims[flight] = (token, self.clock() + CLAIM_S)
            case Over.WHOLE:
                self.claims[flight] = (token, self.clock() + LATECOMERS_S)
            case Over.ENDED:
                del self.claims[flight]
        wanted_s, until = self.wants.get((flight, token), (0.0, 0.0))
        return wanted_s if until > self.clock() else 0.0

    async def hear(self, flight, token, position, *, wanted_s):
        self._check()
        is_held = self._holder(flight) == token
        if is_held and wanted_s > 0:
            known, until = self.wants.get((flight, token), (0.0, 0.0))
            known = known if until > self.clock() else 0.0
            self.wants[flight, token] = (max(known, wanted_s), self.clock() + WANT_S)
        return Heard(tuple(self.logs.get((flight, token), [])[position:]), is_held)

    def forget(self):
        self.claims.clear()
        self.logs.clear()
        self.wants.clear()

    def _holder(self, flight):
        token, until = self.claims.get(flight, ("", 0.0))
        return token if until > self.clock() else None

    def _check(self):
        if self.is_down:
            raise BoardUnavailable("down")
