"""Who may use a dependency now: a few at a time, and nobody waits for one that has stopped answering.

Rule 1: a timebox begins when one's turn comes (docs/decisions/0032).
Rule 2: waiting is worth it while others get through. When nobody has for `patience_s`, the dependency has stopped and
        everybody who waits is told so: queueing behind calls that hang would turn 300 ms into one timebox per place.
        So is whoever gets a place that a failure left, when nobody has got through since the waiting began.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from chassis.budget import Clock
from chassis.errors import BackendUnavailable, DeadlineExceeded, RetrieverUnavailable

RETRY_AFTER_S = 1.0  # a restarted retriever is found again within .4 s (chassis.channel); a second is safe
HEARING_S = 0.025  # with a patience of 250 ms still inside the 300


@dataclass(slots=True)
class Turn:
    """One's turn. `got_through` may be set to False by whoever got an answer in spite of a failure."""

    got_through: bool = True


class Turns:
    """Turns at the retriever, first come first served.

    Args:
        at_once: How many at the same time.
        patience_s: How long without anybody getting through before those who wait give up.
    """

    def __init__(self, at_once: int, patience_s: float, clock: Clock) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._patience_s = patience_s
        self._clock = clock
        self._last_through = self._last_failed = clock() - patience_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Hold a place. Raises RetrieverUnavailable when it stopped answering while this one waited."""
        await self._enter()
        turn = Turn()
        try:
            yield turn
        except (BackendUnavailable, DeadlineExceeded):
            turn.got_through = False
            self._last_failed = self._clock()
            raise
        except asyncio.CancelledError:
            turn.got_through = False
            raise
        finally:
            if turn.got_through:
                self._last_through = self._clock()
            self._places.release()

    async def _enter(self) -> None:
        if not self._places.locked():
            await self._places.acquire()  # at once
            return
        began = self._clock()
        entering = asyncio.ensure_future(self._places.acquire())  # once: a place in the queue is kept
        is_in = False
        try:
            while not entering.done():
                if await self._has_lost_patience(entering, began):
                    raise _gone()
            if self._last_through <= began < self._last_failed:
                raise _gone()  # the place was left by a failure, and nobody has got through since
            is_in = True
        finally:
            if not is_in and not entering.cancel() and not entering.cancelled():
                self._places.release()  # it came too late to be used

    async def _has_lost_patience(self, entering: asyncio.Future[Literal[True]], began: float) -> bool:
        await asyncio.wait([entering], timeout=max(0.0, self._left_s(began)))
        if entering.done() or self._left_s(began) > 0:
            return False
        # A busy event loop fires its timers before it reads what has arrived: let it hear of those who got through.
        await asyncio.wait([entering], timeout=HEARING_S)
        return not entering.done() and self._left_s(began) <= 0

    def _left_s(self, began: float) -> float:
        return max(began, self._last_through) + self._patience_s - self._clock()


def _gone() -> RetrieverUnavailable:
    return RetrieverUnavailable("the retriever does not answer: try again", retry_after_s=RETRY_AFTER_S)
