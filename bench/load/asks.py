"""The kinds of asks of a load, and one of each done and judged."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum

from askmesh.answers import Completed, Delta, Started
from askmesh.client import AsyncClient
from chassis.errors import Overloaded, RagError


class Kind(StrEnum):
    """What is asked.

    COLD: a question nobody asked before. WARM: one asked before, answered anew. CACHE: one asked before, answered from
    the cache. CANCEL: a new one whose caller hangs up at the first word.
    """

    COLD = "cold"
    WARM = "warm"
    CACHE = "cache"
    CANCEL = "cancel"


# Shares of a load. Half of it is work that no cache takes away, or a load test measures the cache.
MIX = {Kind.COLD: 0.50, Kind.WARM: 0.20, Kind.CACHE: 0.25, Kind.CANCEL: 0.05}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One ask.

    Attributes:
        late_s: How long after its time it was sent: the driver's own lag, not the server's.
        failure: The reason of a status that is not OK; "" for an answer.
        is_refused: The failure is a typed refusal under load, which tells the caller when to come again.
    """

    kind: Kind
    at_s: float
    late_s: float
    first_token_s: float = 0.0
    total_s: float = 0.0
    cache: str = ""
    is_degraded: bool = False
    failure: str = ""
    is_refused: bool = False


@dataclass
class Questions:
    """Distinct questions: every one has a number of its own, which keeps the semantic cache from taking two for one."""

    pool: Sequence[str]
    chance: random.Random
    run: int
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _asked: list[str] = field(default_factory=list)

    def new(self) -> str:
        number = next(self._numbers)
        return f"Case {self.run}-{number}: {self.pool[number % len(self.pool)]}"

    def known(self) -> str:
        """One that was answered, so that it may be in the cache; a new one while there is none."""
        return self.chance.choice(self._asked[-KNOWN:]) if self._asked else self.new()

    def answered(self, question: str) -> None:
        self._asked.append(question)


KNOWN = 200  # the latest: an older one may have left the cache


async def ask(client: AsyncClient, kind: Kind, questions: Questions, *, at_s: float, late_s: float) -> Outcome:
    """Stream one ask of this kind; never raises what the server says."""
    is_known = kind in {Kind.WARM, Kind.CACHE}
    question = questions.known() if is_known else questions.new()
    started = time.perf_counter()
    first, cache, is_degraded = 0.0, "", False
    try:
        stream = client.stream(question, cache="bypass" if kind is Kind.WARM else "default")
        assert isinstance(stream, AsyncGenerator)
        async with aclosing(stream):  # hangs up when it is left early
            async for event in stream:
                match event:
                    case Started():
                        cache = event.cache
                    case Delta() if not first:
                        first = time.perf_counter() - started
                        if kind is Kind.CANCEL:
                            break
                    case Completed():
                        is_degraded = bool(event.degraded)
                        if event.grounding == "SUPPORTED" and not (is_degraded or event.is_partial):  # what is cached
                            questions.answered(question)
    except RagError as error:
        refused = isinstance(error, Overloaded)
        return Outcome(kind, at_s, late_s, failure=error.reason, is_refused=refused)
    total = time.perf_counter() - started
    return Outcome(kind, at_s, late_s, first or total, total, cache, is_degraded)
