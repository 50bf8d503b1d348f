"""Answers under way and just finished, so that a reader whose connection broke gets the rest and never a second answer.

Rule 1: one task reads the upstream stream into a log; readers follow the log at their own pace.
Rule 2: the last reader to leave an unfinished answer cancels it: nobody pays for words nobody reads.
Rule 3: an answer is resumed only with the credentials it was asked with; anybody else finds nothing.
Rule 4: finished logs are dropped after a time, and the oldest first when there are too many.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from types import TracebackType

from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.budget import Clock
from chassis.errors import ShuttingDown

Event = pb.StreamAskResponse

Key = tuple[str, str]
"""Owner and answer id."""


def owner_of(credentials: str) -> str:
    """Who asked, as a key: credentials themselves are not kept."""
    return hashlib.sha256(credentials.encode()).hexdigest()


class AnswerLog:
    """The events of one answer, and the task that brings them."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self._readers = 0
        self.pump = asyncio.create_task(self._read(events))
        self.pump.add_done_callback(self._ended)

    @property
    def is_abandoned(self) -> bool:
        return self.pump.cancelled() or self.pump.cancelling() > 0

    async def _read(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self._events.append(event)
            self._changed.set()
            self._changed = asyncio.Event()

    def _ended(self, pump: asyncio.Task[None]) -> None:
        # Looked at here, because a reader may have left before the failure: asyncio complains of unseen ones.
        _ = pump.cancelled() or pump.exception()
        self._changed.set()

    def enter(self) -> None:
        self._readers += 1

    def leave(self) -> None:
        self._readers -= 1
        if not self._readers:
            self.pump.cancel()

    async def since(self, position: int, wait_s: float | None) -> Sequence[Event] | None:
        """The events from a position on; empty when none came in time; None when there will be no more.

        Raises:
            RagError: the upstream stream failed after the last event, or the gateway stops.
        """
        if position >= len(self._events) and not self.pump.done():
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return ()
        if position < len(self._events):
            return self._events[position:]
        if self.is_abandoned:
            raise ShuttingDown("the gateway is stopping; ask again")
        self.pump.result()
        return None


class AnswerReader:
    """One reader's place in a log; a context manager, because leaving matters (rule 2)."""

    def __init__(self, log: AnswerLog) -> None:
        self._log = log
        self._position = 0

    def __enter__(self) -> AnswerReader:
        self._log.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.leave()

    async def next(self, wait_s: float | None) -> Sequence[Event] | None:
        """New events; empty when none came within `wait_s`; None after the last. Raises as AnswerLog.since."""
        events = await self._log.since(self._position, wait_s)
        self._position += len(events or ())
        return events


class AnswerBuffer:
    """The logs of answers under way and just finished.

    Args:
        ttl_s: How long a finished one is kept.
        max_answers: How many at most.
    """

    def __init__(self, *, ttl_s: float, max_answers: int, clock: Clock = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._max_answers = max_answers
        self._clock = clock
        self._logs: dict[Key, AnswerLog] = {}
        self._ended: OrderedDict[Key, float] = OrderedDict()
        self._pumps: set[asyncio.Task[None]] = set()

    def begin(self, events: AsyncIterator[Event], owner: str) -> AnswerReader:
        """Start reading an answer. It can be found once its first event told its id."""
        found: list[AnswerLog] = []
        log = AnswerLog(self._registering(events, owner, found))
        found.append(log)  # before the task first runs
        self._pumps.add(log.pump)
        log.pump.add_done_callback(self._pumps.discard)
        return AnswerReader(log)

    def find(self, answer_id: str, owner: str) -> AnswerReader | None:
        self._expire()
        log = self._logs.get((owner, answer_id))
        return AnswerReader(log) if log is not None and not log.is_abandoned else None

    async def aclose(self) -> None:
        """End every answer under way."""
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()
        if pumps:
            await asyncio.wait(pumps)

    async def _registering(
        self, events: AsyncIterator[Event], owner: str, found: list[AnswerLog]
    ) -> AsyncIterator[Event]:
        """The same events; the answer can be found from its first one on, and after the last one for a time."""
        key: Key | None = None
        is_whole = False
        try:
            async for event in events:
                if event.WhichOneof("event") == "answer_started":
                    key = (owner, event.answer_started.answer_id)
                    self._logs[key] = found[0]
                yield event
            is_whole = True
        finally:
            if key is not None:
                self._end(key, is_whole=is_whole)

    def _end(self, key: Key, *, is_whole: bool) -> None:
        if is_whole:
            self._ended[key] = self._clock()
            self._expire()
        else:
            self._logs.pop(key, None)

    def _expire(self) -> None:
        oldest_kept = self._clock() - self._ttl_s
        while self._ended:
            key, ended = next(iter(self._ended.items()))
            if ended > oldest_kept and len(self._ended) <= self._max_answers:
                return
            del self._ended[key]
            self._logs.pop(key, None)
