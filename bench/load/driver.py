"""Sends asks at their times, each in a task of its own, over several connections."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from askmesh.client import AsyncClient
from bench.load.arrivals import Stage, arrivals
from bench.load.asks import MIX, Kind, Outcome, Questions, ask

CONNECTIONS = 8  # a public listener takes 100 streams a connection; the next one would wait silently
WARM_UP = 10  # asks before the clock starts: connections, caches of the embedder, something to hit


class NothingAnswers(Exception):
    """Not one of the first asks was answered; `str()` is the first one's reason."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and where.

    Attributes:
        questions: What new questions are made of.
        seed: Equal seeds send equal loads; it is in every question, so that a second run does not hit the first one's
            answers.
    """

    target: str
    collection: str
    stages: Sequence[Stage]
    questions: Sequence[str]
    seed: int
    token: str = ""
    timeout_s: float = 30.0


@dataclass
class _Sending:
    clients: Sequence[AsyncClient]
    questions: Questions
    outcomes: list[Outcome] = field(default_factory=list)

    async def one(self, number: int, kind: Kind, at_s: float, late_s: float) -> None:
        client = self.clients[number % len(self.clients)]
        self.outcomes.append(await ask(client, kind, self.questions, at_s=at_s, late_s=late_s))


async def send(load: Load) -> list[Outcome]:
    """The outcomes of the whole load, once the last ask has ended."""
    chance = random.Random(load.seed)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncClient(load.target, collection=load.collection, token=load.token, timeout_s=load.timeout_s)
            )
            for _ in range(CONNECTIONS)
        ]
        sending = _Sending(clients, Questions(load.questions, chance, load.seed))
        for number in range(WARM_UP):
            await sending.one(number, Kind.COLD, 0.0, 0.0)
        if all(each.failure for each in sending.outcomes):
            raise NothingAnswers(sending.outcomes[0].failure)
        sending.outcomes.clear()
        await _send_all(sending, load.stages, chance)
    return sending.outcomes


async def _send_all(sending: _Sending, stages: Sequence[Stage], chance: random.Random) -> None:
    started = time.perf_counter()
    kinds, shares = [*MIX], [*MIX.values()]
    async with asyncio.TaskGroup() as tasks:
        for number, at_s in enumerate(arrivals(stages, chance)):
            [kind] = chance.choices(kinds, shares)
            if (wait := at_s - (time.perf_counter() - started)) > 0:
                await asyncio.sleep(wait)
            late_s = time.perf_counter() - started - at_s
            tasks.create_task(sending.one(number, kind, at_s, late_s))
