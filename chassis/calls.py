"""The calls a server has open, so that a drain can wait for them and, in the end, force them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class OpenCall:
    """One call and the task that serves it.

    Attributes:
        is_exempt: Health and reflection: a drain does not wait for a probe that watches.
        is_forced: The drain's time is over; the cancel that follows means "shutting down".
    """

    task: asyncio.Task[object]
    is_exempt: bool
    is_forced: bool = False

    def force(self) -> None:
        if not self.is_forced:
            self.is_forced = True
            self.task.cancel()


class OpenCalls:
    """A set of open calls with a signal for "none left"."""

    def __init__(self) -> None:
        self._open: set[OpenCall] = set()
        self._changed = asyncio.Event()

    @contextmanager
    def opened(self, *, is_exempt: bool) -> Iterator[OpenCall]:
        """Count the current task as an open call within a block."""
        task = asyncio.current_task()
        assert task is not None, "a call is served by a task"
        call = OpenCall(task, is_exempt)
        self._open.add(call)
        try:
            yield call
        finally:
            self._open.discard(call)
            self._changed.set()

    async def ended(self, *, with_exempt: bool = False) -> None:
        """Return once no call is open; exempt ones only count when asked for."""
        while any(with_exempt or not call.is_exempt for call in self._open):
            self._changed.clear()
            await self._changed.wait()

    def force(self) -> int:
        """End the calls that are still open; returns how many."""
        for call in (chosen := tuple(self._open)):
            call.force()
        return len(chosen)
