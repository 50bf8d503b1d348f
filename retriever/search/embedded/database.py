"""One SQLite file behind threads: a single writer, a few readers, nothing on the event loop.

Rule 1: one connection writes, in one thread, one transaction at a time; readers see whole transactions (WAL).
Rule 2: whatever ends a write early, a deadline or a full disk, rolls it back: nothing half written is ever visible.
Rule 3: `durable` writes reach the disk before they return. Others are only ordered: one WAL is one sequence, so the
        next durable write carries everything before it. That is why chunks may be written cheaply and the head's swap,
        which alone makes them visible, is what waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded
from retriever.search.embedded.failures import translated

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PROGRESS_STEPS: Final = 20_000  # virtual machine steps between looks at the deadline: about 1 ms
CACHE_KIB: Final = 8_192  # pages each connection keeps; the system's own cache holds the rest of the file
BUSY_TIMEOUT_S: Final = 5.0  # checkpoints and a reader's first look at a fresh WAL
WAL_LIMIT_BYTES: Final = 64 << 20  # a bulk load's WAL is cut back to this


class Database:
    """Runs functions against the file's connections, each in a thread, each inside its caller's budget."""

    def __init__(self, path: Path, *, reader_threads: int) -> None:
        self._path = path
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reading = ThreadPoolExecutor(reader_threads, thread_name_prefix="store-read")
        self._reading_heads = ThreadPoolExecutor(1, thread_name_prefix="store-heads")
        self._own = threading.local()  # each thread's connection
        self._opened: list[sqlite3.Connection] = []

    async def read(
        self, work: Work[T], *, failure: type[BackendUnavailable], place: str, budget: Budget, is_quick: bool = False
    ) -> T:
        """Run `work` in a read transaction: everything it sees is of one moment.

        Args:
            work: What to do.
            failure: What a failure of the file is raised as.
            place: Prepended to errors.
            budget: When it is spent, the work is interrupted.
            is_quick: A lookup of microseconds that must not queue behind searches: it has a thread of its own.
        """
        pool = self._reading_heads if is_quick else self._reading
        return await self._run(pool, partial(self._in_read, work, failure, place), place, budget)

    async def write(
        self,
        work: Work[T],
        *,
        failure: type[BackendUnavailable],
        place: str,
        budget: Budget,
        durable: bool = False,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Run `work` in a write transaction.

        Args:
            work: What to do; it must not begin or end transactions.
            failure: What a failure of the file is raised as.
            place: Prepended to errors.
            budget: When it is spent before the transaction began, nothing happens; later the outcome is unknown.
            durable: Wait until the disk has it (and everything written before).
            after: Runs in the writer's thread once the transaction is committed, before anything else is written,
                whether or not the caller still waits.
        """
        job = partial(self._in_write, work, failure, place, durable=durable, after=after)
        return await self._run(self._writing, job, place, budget)

    def close(self) -> None:
        """End the threads and close their connections; waits for work that is running."""
        self._writing.shutdown(wait=True, cancel_futures=True)
        self._reading.shutdown(wait=True, cancel_futures=True)
        self._reading_heads.shutdown(wait=True, cancel_futures=True)
        for connection in self._opened:
            connection.close()

    async def _run(self, pool: Executor, job: Callable[[Callable[[], bool]], T], place: str, budget: Budget) -> T:
        budget.check(place)
        abandoned = threading.Event()
        stop = lambda: abandoned.is_set() or budget.is_spent  # noqa: E731  # a name would say no more
        waiting = asyncio.get_running_loop().run_in_executor(pool, job, stop)
        try:
            async with asyncio.timeout(budget.remaining_s()):
                return await waiting
        except TimeoutError:
            raise DeadlineExceeded(f"{place}: the deadline passed") from None
        finally:
            abandoned.set()  # work that is still queued is dropped, work that runs is interrupted

    def _in_read(self, work: Work[T], failure: type[BackendUnavailable], place: str, stop: Callable[[], bool]) -> T:
        with translated(failure, place):
            connection = self._connection(query_only=True)
            connection.set_progress_handler(stop, PROGRESS_STEPS)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.set_progress_handler(None, 0)
                connection.rollback()

    def _in_write(
        self,
        work: Work[T],
        failure: type[BackendUnavailable],
        place: str,
        stop: Callable[[], bool],
        *,
        durable: bool,
        after: Callable[[T], None] | None,
    ) -> T:
        with translated(failure, place):
            connection = self._connection(query_only=False)
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.set_progress_handler(stop, PROGRESS_STEPS)
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            finally:
                connection.set_progress_handler(None, 0)
                if connection.in_transaction:
                    connection.rollback()
            if after is not None:
                after(result)
            return result

    def _connection(self, *, query_only: bool) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = connect(self._path)
            connection.execute(f"PRAGMA query_only = {int(query_only)}")
            self._own.connection = connection
            self._opened.append(connection)
        return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection as every thread needs it: WAL, no implicit transactions, closable from another thread."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA page_size = 8192")  # five 384-dimensional vectors a page instead of two
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    return connection
