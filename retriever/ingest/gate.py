"""Bounds the bytes worked on at once, so that memory depends on a setting and not on callers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded


class ByteGate:
    """A pool of bytes, handed out in the order they were asked for: small documents never starve a large one.

    Args:
        capacity: Bytes in all; a single larger request takes all of them.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = capacity
        self._queue: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def held(self) -> int:
        """Bytes handed out now."""
        return self._capacity - self._free

    @asynccontextmanager
    async def hold(self, size: int, budget: Budget) -> AsyncIterator[None]:
        """Hold `size` bytes within the block. Raises DeadlineExceeded when the wait outlasts the budget."""
        share = min(size, self._capacity)
        try:
            async with asyncio.timeout(budget.remaining_s()):
                await self._take(share)
        except TimeoutError as exc:
            raise DeadlineExceeded("ingest: the deadline passed before the document's turn came") from exc
        try:
            yield
        finally:
            self._give(share)

    async def _take(self, share: int) -> None:
        if not self._queue and self._free >= share:
            self._free -= share
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (turn, share)
        self._queue.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give(share)  # handed over in the moment of cancelling
            elif entry in self._queue:
                self._queue.remove(entry)
                self._serve()  # whoever stood behind may fit now
            raise

    def _give(self, share: int) -> None:
        self._free += share
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._free >= self._queue[0][1]:
            turn, share = self._queue.popleft()
            if not turn.done():  # cancelled, and its task has not come to hear of it
                self._free -= share
                turn.set_result(None)
