"""An event loop on a thread of its own, for callers that have none.

Rule 1: what is submitted ends. Closing cancels it and lets it finish before the loop stops, so that no caller waits on.
Rule 2: nothing is submitted once closing has begun: the lock is around the flag and the submitting both.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

from chassis.errors import Cancelled

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads, which wait for them."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.RLock()  # a signal's handler may close in the midst of its own thread's submitting
        self._last: Callable[[], Awaitable[None]] | None = None  # set once closing has begun
        self._is_closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Raises Cancelled when the loop is closed, before or under it."""
        future = self._submit(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Cancelled("the client was closed before the call had ended") from None
        except BaseException:  # an interrupt here must stop the call there too
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Generator[T, None, None]:
        """Its items; it is closed when the iterator is left."""
        turn = asyncio.Lock()  # an interrupted step ends before the source is closed: none closes while it runs
        current: asyncio.Task[Any] | None = None

        async def step() -> tuple[bool, T | None]:
            nonlocal current
            current = asyncio.current_task()
            async with turn:
                async for item in source:
                    return True, item
                return False, None

        async def close() -> None:
            if current is not None:  # an interrupt may come when a step is submitted and `wait` has no future yet
                current.cancel()
            async with turn:
                closing = getattr(source, "aclose", None)
                if closing is not None:
                    await closing()

        try:
            while True:
                found, item = self.wait(step())
                if not found:
                    return
                yield item  # type: ignore[misc]  # found says that there is one
        finally:
            with suppress(Cancelled):  # who closed the loop has closed the source
                self.wait(close())

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancel what is under way, await `last`, end the thread; idempotent, and from any other thread."""
        with self._lock:
            if self._last is None:
                self._last = last
                self._loop.call_soon_threadsafe(self._is_closing.set)
        self._thread.join()

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        with self._lock:
            if self._last is None:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise Cancelled("the client is closed: make another one")

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        await self._is_closing.wait()
        assert self._last is not None, "it is set before the event"
        await _cancel_others()
        await self._last()
        await _cancel_others()  # what the ends of the first have begun
        await asyncio.get_running_loop().shutdown_asyncgens()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
