"""Single flight: identical concurrent misses share one generation.

Rule 1: a flight is a task of its own. It belongs to nobody's request: the first waiter may leave and it goes on.
Rule 2: it keeps its events in a log; every waiter replays the log at its own pace, so a slow reader slows nobody.
Rule 3: every waiter leaves at its own deadline, so the flight lives exactly as long as its longest waiter needs it;
        the last one to leave cancels it, and with it the engine.
Rule 4: a flight that has failed or ended is not joined: the next ask finds the cache, or flies again.

Across replicas orchestrator.relay has one flight follow another; here it is a flight like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from chassis.budget import Clock
from chassis.errors import ShuttingDown

Event = TypeVar("Event")

STOP_GRACE_S = 1.0  # an engine that will not let go must not hold the caller too; `stopped` waits for it at the end


class Flight(Generic[Event]):
    """One piece of work and those who wait for it.

    Attributes:
        log: Every event so far, in order; never shortened.
        waiters: How many replay it now.
        deadline: The latest of its waiters' deadlines, monotonic seconds; later waiters may put it off.
        is_shared: Others may board.
        is_borrowed: Another replica's flight makes the answer, and its leader pays.
    """

    def __init__(self, clock: Clock, *, is_shared: bool, land: Callable[[], None] = lambda: None) -> None:
        self.log: list[Event] = []
        self.waiters = 0
        self.deadline = 0.0
        self.is_shared = is_shared
        self.is_borrowed = False
        self._clock = clock
        self._land = land
        self._decided = asyncio.Event()
        self._alarms: dict[asyncio.Timeout, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False
        self._moved = asyncio.Event()  # replaced with every move, so that no waiter misses one

    def start(self, work: Work[Event]) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run(work), name="flight")
        self._task.add_done_callback(self._end)
        return self._task

    def emit(self, event: Event) -> None:
        """Append to the log and wake the waiters."""
        self.log.append(event)
        self._wake()

    @asynccontextmanager
    async def alarm(self, before_s: float) -> AsyncIterator[asyncio.Timeout]:
        """A timeout `before_s` seconds before the deadline, which is put off with it; reschedule(None) turns it off."""
        async with asyncio.timeout(self._seconds_to(before_s)) as timeout:
            self._alarms[timeout] = before_s
            try:
                yield timeout
            finally:
                del self._alarms[timeout]

    def board(self, deadline: float) -> None:
        """One waiter more, who needs the flight until `deadline` at most."""
        self.waiters += 1
        self.extend(deadline)

    def extend(self, deadline: float) -> None:
        """Somebody on board needs the flight until `deadline`."""
        if deadline <= self.deadline:
            return
        self.deadline = deadline
        now = asyncio.get_running_loop().time()
        for timeout, before_s in self._alarms.items():
            if timeout.when() is not None and not timeout.expired():
                timeout.reschedule(now + self._seconds_to(before_s))

    def decide(self, *, is_borrowed: bool) -> None:
        """Say who makes the answer; before that nobody is told anything."""
        self.is_borrowed = is_borrowed
        self._decided.set()

    async def decided(self) -> None:
        """Return when that was said, or the flight has ended."""
        if not self._has_ended:
            await self._decided.wait()

    async def moved_past(self, position: int) -> None:
        """Return when the log is longer than `position`, or the flight has ended."""
        while len(self.log) <= position and not self._has_ended:
            await self._moved.wait()

    async def outcome(self) -> None:
        """Wait for the end and raise what the work raised; ShuttingDown when it was stopped under its waiters."""
        assert self._task is not None
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise ShuttingDown("the server is stopping: ask again", retry_after_s=1.0)
        self._task.result()

    async def leave(self) -> None:
        """One waiter less; the last one stops the work and sees it stopped."""
        self.waiters -= 1
        if self.waiters == 0 and self._task is not None and not self._task.done():
            self._land()  # nobody may board what is being stopped
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_GRACE_S)

    async def _run(self, work: Work[Event]) -> None:
        await work(self)

    def _end(self, task: asyncio.Task[None]) -> None:
        """By callback, so that it is said of a task too that was cancelled before its first step."""
        self._has_ended = True
        self._decided.set()
        self._wake()
        if not task.cancelled():
            task.exception()  # read, lest asyncio log a failure nobody waited for, with its text

    def _seconds_to(self, before_s: float) -> float:
        return self.deadline - before_s - self._clock()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


Work = Callable[[Flight[Event]], Awaitable[None]]


class FlightTable(Generic[Event]):
    """The flights in the air, by what makes two asks the same."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flights: dict[Hashable, Flight[Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many generations are under way, shared or not."""
        return len(self._tasks)

    @asynccontextmanager
    async def boarded(
        self, key: Hashable | None, work: Work[Event], *, deadline: float
    ) -> AsyncIterator[tuple[Flight[Event], bool]]:
        """The flight for `key` and whether this caller started it; left when the context ends.

        Args:
            key: None is never shared (BYPASS, REFRESH, redacted questions).
            work: Done only by a flight that starts now.
            deadline: The caller's own, monotonic seconds; the flight's is the longest.
        """
        flight = self._flights.get(key) if key is not None else None
        is_leader = flight is None
        if flight is None:
            flight = self._take_off(key, work)
        flight.board(deadline)
        try:
            yield flight, is_leader
        finally:
            await flight.leave()

    async def stopped(self) -> None:
        """Cancel whatever still flies: the process ends."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take_off(self, key: Hashable | None, work: Work[Event]) -> Flight[Event]:
        flight: Flight[Event] = Flight(self._clock, is_shared=key is not None, land=lambda: self._land(key, flight))
        if key is not None:
            self._flights[key] = flight

        async def fly(flight: Flight[Event]) -> None:
            try:
                await work(flight)
            finally:
                self._land(key, flight)

        task = flight.start(fly)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    def _land(self, key: Hashable | None, flight: Flight[Event]) -> None:
        if key is not None and self._flights.get(key) is flight:
            del self._flights[key]
