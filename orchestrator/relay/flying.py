"""Who makes an answer that several replicas are asked for at once: whoever claims it first; the others relay it.

Rule 1: at most one replica holds a flight's claim. It beats while it makes the answer; a claim that is not beaten dies.
Rule 2: the holder tells nothing while nobody listens but its end, and never more often than every PACE_S: a token costs
        nothing, a beat one call to the board. Those who listen are on board like any waiter: while there is one, the
        answer goes on though all of the holder's own callers have left.
Rule 3: whoever follows makes the answer itself when the board or the holder fails it: the board does not answer for
        PATIENCE_S, the claim dies, the holder failed, or nothing was heard for a third of the time there is. If nothing
        was said yet it claims the flight first, so that of many followers one goes on. What was said already is taken
        up (orchestrator.relay.splice).
Rule 4: no trouble of the board is anybody's error.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, StrEnum
from typing import Final

from chassis.budget import Clock
from orchestrator.board import BoardUnavailable, Chunk, Over
from orchestrator.ports import FlightBoard
from orchestrator.relay.codec import Unreadable, decoded, encoded
from orchestrator.relay.splice import Diverged, Splice
from orchestrator.speaking import AnswerFlight, LoggedEvent, Stage
from orchestrator.types import AnswerCompleted, FinishReason

BEAT_S: Final = 0.100  # of a holder nobody listens to; it finds those who do so soon
PACE_S: Final = 0.025  # between two beats or two looks while somebody listens: nobody reads faster
PATIENCE_S: Final = 0.5  # ten looks that end in the board's timeout, or a restart of Redis
DEAF_S: Final = 1.5  # a listener that has not looked for so long is gone
FIRST_SHARE: Final = 3  # a follower keeps two thirds of its time for making the answer itself

Make = Callable[[Stage], Awaitable[None]]


class Role(StrEnum):
    """What a replica did for a flight; labels of a metric."""

    LED = "led"
    FOLLOWED = "followed"
    ALONE = "alone"


class _Followed(Enum):
    TO_THE_END = 1
    HOLDER_IS_GONE = 2
    NO_USE = 3  # the board or the holder is of no help now


class FlightRelay:
    """See the rules above.

    Args:
        on_role: Told once of every flight what this replica did last for it.
    """

    def __init__(self, board: FlightBoard, clock: Clock, on_role: Callable[[Role], None]) -> None:
        self._board = board
        self._clock = clock
        self._on_role = on_role

    async def carried(self, name: str, flight: AnswerFlight, make: Make) -> None:
        """Bring the whole answer into `flight`; `make` makes it here."""
        holders: set[str] = set()
        while True:
            token = uuid.uuid4().hex
            try:
                holder = await self._board.claim(name, token)
            except BoardUnavailable:
                break
            if holder in holders:
                break  # it is gone and holds on: no holder of ours does
            holders.add(holder)
            if holder == token:
                flight.decide(is_borrowed=False)
                self._on_role(Role.LED)
                await _Holder(self._board, self._clock, name, token).lead(flight, make)
                return
            flight.decide(is_borrowed=True)
            outcome = await self._follow(name, holder, flight)
            if outcome is _Followed.TO_THE_END:
                self._on_role(Role.FOLLOWED)
                return
            if outcome is _Followed.NO_USE or flight.log:
                break
        flight.decide(is_borrowed=False)
        self._on_role(Role.ALONE)
        await _alone(flight, make)

    async def _follow(self, name: str, holder: str, flight: AnswerFlight) -> _Followed:
        position, began = 0, self._clock()
        answered = began
        while True:
            now = self._clock()
            try:
                heard = await self._board.hear(name, holder, position, wanted_s=max(0.0, flight.deadline - now))
            except BoardUnavailable:
                if self._clock() - answered > PATIENCE_S:
                    return _Followed.NO_USE
            else:
                answered = self._clock()
                position += len(heard.chunks)
                try:
                    if _repeat(heard.chunks, flight):
                        return _Followed.TO_THE_END
                except (Unreadable, _HolderFailed):
                    return _Followed.NO_USE
                if heard.is_broken:
                    return _Followed.NO_USE
                if not heard.chunks and not heard.is_held:
                    return _Followed.HOLDER_IS_GONE
            if not flight.log and now - began > (flight.deadline - began) / FIRST_SHARE:
                return _Followed.NO_USE
            await asyncio.sleep(PACE_S)


class _HolderFailed(Exception):
    """It could not make the answer; perhaps this replica can, or its caller gets the error at first hand."""


def _repeat(chunks: tuple[bytes, ...], flight: AnswerFlight) -> bool:
    """Put what was heard into the log; True when that was the end."""
    for chunk in chunks:
        if chunk == _FAILED:
            raise _HolderFailed
        for event in decoded(chunk):
            flight.emit(event)
            if isinstance(event, AnswerCompleted):
                return True
    return False


async def _alone(flight: AnswerFlight, make: Make) -> None:
    if not flight.log:
        await make(flight)
        return
    splice = Splice(flight)
    try:
        await make(splice)
    except Diverged:
        flight.emit(splice.broken_off())


_FAILED: Final = b"failed"


class _Holder:
    """The replica that makes the answer, and tells it to those who listen."""

    def __init__(self, board: FlightBoard, clock: Clock, name: str, token: str) -> None:
        self._board = board
        self._clock = clock
        self._name = name
        self._token = token
        self._told = 0  # events
        self._number = 0  # of the next chunk
        self._pending: tuple[Chunk, int] | None = None  # not known to have been heard, and the events told with it
        self._heard_of = 0.0  # when somebody was last known to listen
        self._is_on_board = False

    async def lead(self, flight: AnswerFlight, make: Make) -> None:
        telling = asyncio.create_task(self._tell(flight), name="tell a flight")
        over, last = Over.ENDED, b""
        try:
            await make(flight)
            over = _ending(flight.log)
        except Exception:
            last = _FAILED
            raise
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            await self._close(flight, over, last)

    async def _tell(self, flight: AnswerFlight) -> None:
        while True:
            await asyncio.sleep(PACE_S if self._is_on_board else BEAT_S)
            try:
                wanted_s = await self._board.beat(self._name, self._token, self._next(flight, self._is_on_board))
            except BoardUnavailable:
                wanted_s = 0.0
            else:
                self._was_heard()
            if wanted_s:
                self._heard_of = self._clock()
                self._take_on_board(flight, self._heard_of + wanted_s)
            elif self._is_on_board and (wanted_s is None or self._clock() - self._heard_of > DEAF_S):
                self._is_on_board = False
                await flight.leave()
            if wanted_s is None:
                return

    def _take_on_board(self, flight: AnswerFlight, deadline: float) -> None:
        if self._is_on_board:
            flight.extend(deadline)
        else:
            self._is_on_board = True
            flight.board(deadline)

    def _next(self, flight: AnswerFlight, is_wanted: bool, last: bytes = b"") -> Chunk | None:
        """What to tell now: the same as before while that may not have been heard."""
        if self._pending is None and (last or (is_wanted and len(flight.log) > self._told)):
            content = last or encoded(flight.log[self._told :])
            self._pending = (Chunk(self._number, content), len(flight.log))
        return self._pending[0] if self._pending is not None else None

    def _was_heard(self) -> None:
        if self._pending is not None:
            self._told = self._pending[1]
            self._number += 1
            self._pending = None

    async def _close(self, flight: AnswerFlight, over: Over, last: bytes) -> None:
        """Tell the rest and the end. Whoever is not reached finds the claim dead."""
        with suppress(BoardUnavailable):
            if self._pending is not None:
                await self._board.beat(self._name, self._token, self._pending[0])
                self._was_heard()
            is_whole_story = isinstance(flight.log[-1], AnswerCompleted) if flight.log else False
            await self._board.beat(self._name, self._token, self._next(flight, is_whole_story, last), over=over)


def _ending(log: list[LoggedEvent]) -> Over:
    """An answer that may be cached may be had by latecomers; one that lacks something is for who waited for it."""
    end = log[-1] if log else None
    if not isinstance(end, AnswerCompleted) or end.is_partial or end.degraded:
        return Over.ENDED
    return Over.WHOLE if end.finish_reason is FinishReason.STOP else Over.ENDED
