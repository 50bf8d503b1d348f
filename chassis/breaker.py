"""A circuit breaker per dependency: stop asking what does not answer, and find out gently when it does again.

    closed --(too many failures or slow calls)--> open --(open_s)--> half open --(one probe succeeds)--> closed
                                                    ^------------------(it fails)----'

Rule 1: only what says something about the dependency counts: its being unavailable or out of time. A caller's mistake
        is a success of the dependency; a cancelled call says nothing.
Rule 2: one probe at a time while half open; everybody else is refused at once, without waiting.
Rule 3: rates over a rolling window, and only from `min_calls` on: one failure of one call is not 100 %.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

from chassis import metrics
from chassis.budget import Clock
from chassis.errors import BackendUnavailable, DeadlineExceeded, RagError, StorageFull
from chassis.telemetry import Telemetry

T = TypeVar("T")


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


_GAUGE = {State.CLOSED: 0.0, State.HALF_OPEN: 0.5, State.OPEN: 1.0}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a breaker opens.

    Attributes:
        window_s: How far back calls count.
        min_calls: Fewer in the window never open it.
        failure_rate: Share of failures that opens it.
        slow_s: A call that takes longer counts as slow; 0 means none does.
        slow_rate: Share of slow calls that opens it.
        open_s: How long it refuses before it probes.
    """

    window_s: float = 10.0
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_s: float = 0.0
    slow_rate: float = 0.8
    open_s: float = 1.0


# For what an answer can do without (caches). Two seconds of failures say enough, and finding out whether it is back
# costs nobody anything (`call_or_probe`): looked at every quarter second, it is used again well within one.
OPTIONAL = Thresholds(window_s=2.0, min_calls=5, open_s=0.25)


@dataclass(frozen=True, slots=True)
class _Outcome:
    at: float
    is_failure: bool
    is_slow: bool


class _Window:
    """The outcomes of the last `window_s`, counted as they come and go: thousands a second pass through here."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._outcomes: deque[_Outcome] = deque()
        self.failures = 0
        self.slow = 0

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, outcome: _Outcome) -> None:
        self._outcomes.append(outcome)
        self._count(outcome, 1)
        while self._outcomes and self._outcomes[0].at <= outcome.at - self._window_s:
            self._count(self._outcomes.popleft(), -1)

    def clear(self) -> None:
        self._outcomes.clear()
        self.failures = self.slow = 0

    def _count(self, outcome: _Outcome, step: int) -> None:
        self.failures += step * outcome.is_failure
        self.slow += step * outcome.is_slow


@dataclass(frozen=True, slots=True)
class _Entry:
    """One call through the breaker: when it began, and in which epoch (a late answer from before says nothing)."""

    started: float
    epoch: int
    is_probe: bool


class Breaker:
    """See the rules above. `await breaker.call(work)`, or `async with breaker:` around it, or `breaker.guard()`.

    Args:
        name: Label of its gauge.
        error: What a refused call raises; the pipelines degrade on it.
        clock: Monotonic seconds.
        thresholds: When it opens.
        telemetry: Shows its state; None shows none.
    """

    def __init__(
        self,
        name: str,
        clock: Clock = time.monotonic,
        *,
        error: type[BackendUnavailable] = BackendUnavailable,
        thresholds: Thresholds | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._error = error
        self._limits = thresholds or Thresholds()
        self._outcomes = _Window(self._limits.window_s)
        self._state = State.CLOSED
        self._opened_at = 0.0
        self._epoch = 0
        self._is_probing = False
        self._probes: set[asyncio.Task[None]] = set()
        self._entries: ContextVar[tuple[_Entry, ...]] = ContextVar(f"breaker_{name}", default=())
        self._gauge = telemetry.gauge(metrics.BREAKER_OPEN).labels(name) if telemetry is not None else None

    @property
    def state(self) -> State:
        """The state as of now: an open breaker whose time is over counts as half open."""
        if self._state is State.OPEN and self._clock() - self._opened_at >= self._limits.open_s:
            self._enter(State.HALF_OPEN)
        return self._state

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` unless the breaker refuses. Raises the breaker's error, or what `work` raises."""
        async with self.guard():
            return await work()

    async def call_or_probe(self, work: Callable[[], Awaitable[T]]) -> T:
        """As `call`, but nobody waits for a probe: while half open `work` runs beside its caller, who is refused.

        For what can be done without: an outage then costs no call anything but those that opened the breaker. `work`
        must end by itself, within its own time.
        """
        if self.state is not State.HALF_OPEN:
            return await self.call(work)
        if not self._is_probing and not self._probes:
            task = asyncio.create_task(self._probe(work), name=f"probe of {self.name}")
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)
        raise self._refusal()

    async def _probe(self, work: Callable[[], Awaitable[T]]) -> None:
        with suppress(RagError):
            await self.call(work)

    @asynccontextmanager
    async def guard(self, *, judges_lateness: bool = True) -> AsyncIterator[None]:
        """Around one call, also one that ends in another task than it began in (a stream that is closed late).

        Args:
            judges_lateness: False for a call that had hardly any time: that it was late then says nothing.
        """
        entry = self._begin()
        try:
            yield
        except BaseException as exc:
            is_excused = not judges_lateness and isinstance(exc, DeadlineExceeded | TimeoutError)
            self._end(entry, asyncio.CancelledError() if is_excused else exc)
            raise
        self._end(entry, None)

    async def __aenter__(self) -> Self:
        self._entries.set((*self._entries.get(), self._begin()))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        *outer, entry = self._entries.get()
        self._entries.set(tuple(outer))
        self._end(entry, exc)

    def _begin(self) -> _Entry:
        state = self.state
        if state is State.OPEN or (state is State.HALF_OPEN and self._is_probing):
            raise self._refusal()
        is_probe = state is State.HALF_OPEN
        self._is_probing = self._is_probing or is_probe
        return _Entry(self._clock(), self._epoch, is_probe)

    def _refusal(self) -> BackendUnavailable:
        wait_s = max(0.0, self._limits.open_s - (self._clock() - self._opened_at))
        return self._error(f"{self.name} has been failing and is not asked now", retry_after_s=wait_s or None)

    def _end(self, entry: _Entry, exc: BaseException | None) -> None:
        if entry.epoch != self._epoch:
            return
        self._is_probing = self._is_probing and not entry.is_probe
        if not _says_something(exc):
            return
        now = self._clock()
        is_slow = 0 < self._limits.slow_s < now - entry.started
        outcome = _Outcome(now, _is_failure(exc), is_slow)
        if entry.is_probe:
            self._enter(State.OPEN if outcome.is_failure or outcome.is_slow else State.CLOSED)
            return
        self._outcomes.add(outcome)
        if self._is_tripped():
            self._enter(State.OPEN)

    def _is_tripped(self) -> bool:
        seen, limits = self._outcomes, self._limits
        if len(seen) < limits.min_calls:
            return False
        return seen.failures >= limits.failure_rate * len(seen) or seen.slow >= limits.slow_rate * len(seen)

    def _enter(self, state: State) -> None:
        self._state = state
        self._epoch += 1
        self._is_probing = False
        self._outcomes.clear()
        if state is State.OPEN:
            self._opened_at = self._clock()
        if self._gauge is not None:
            self._gauge.set(_GAUGE[state])


def _is_failure(exc: BaseException | None) -> bool:
    return isinstance(exc, BackendUnavailable | DeadlineExceeded | TimeoutError) and not isinstance(exc, StorageFull)


def _says_something(exc: BaseException | None) -> bool:
    """Whether an outcome is one: anything but being cancelled is."""
    return exc is None or isinstance(exc, Exception)
