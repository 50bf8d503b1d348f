"""The warm child that parses binary formats and HTML: one at a time, started on first use, replaced after a failure."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing import frames
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits

_MODULE = "retriever.ingest.parsing.child"
_SOURCE_ROOT = Path(__file__).parents[3]  # what holds the packages, installed or in a checkout
# The child's whole environment: no secrets of the server. One thread: BLAS would map 100 MiB per processor otherwise.
_ENVIRONMENT = {"PYTHONPATH": str(_SOURCE_ROOT), "OPENBLAS_NUM_THREADS": "1", "LANG": "C.UTF-8"}


class ParsingChild:
    """A pool of one process. A document that hangs, crashes or eats memory fails alone; the next one gets a new child.

    Args:
        limits: For one document, and for how long a child is kept.
    """

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._parsed = 0

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._process.pid if self._process else None

    async def parse(self, format: Format, data: bytes, *, budget: Budget) -> ParsedDocument:
        """Parse one file.

        Raises:
            DocumentError: as the child says; DocumentUnreadable when it crashed or took longer than the limit.
            DeadlineExceeded: the budget ended first.
            BackendUnavailable: no process could be started.
        """
        try:
            async with asyncio.timeout(budget.remaining_s()):
                async with self._turn:
                    body = await self._exchange(frames.request(format, data))
                # In a thread: a book's reply is a million blocks, seconds of work.
                return await asyncio.to_thread(frames.read_reply, body)
        except TimeoutError as exc:
            raise DeadlineExceeded("parsing: the deadline passed: allow more time for a document this large") from exc

    async def close(self) -> None:
        """End the child; safe to call twice."""
        async with self._turn:
            await self._end()

    async def _exchange(self, request: bytes) -> bytes:
        """Send a document and wait for the answer; whatever goes wrong in between costs the child."""
        is_whole = False
        timer = asyncio.timeout(self._limits.wall_s)
        try:
            async with timer:
                process = await self._started()
                body = await self._answer(process, request)
            is_whole = True
        except TimeoutError as exc:
            if not timer.expired():
                raise
            raise DocumentUnreadable(f"the document could not be read within {self._limits.wall_s:g} s") from exc
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise DocumentUnreadable(
                "the document made its parser fail: it is damaged, or needs too much memory"
            ) from exc
        finally:
            self._parsed += 1
            if not is_whole or self._parsed >= self._limits.documents_per_child:
                await self._end()
        return body

    async def _answer(self, process: Process, request: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        await process.stdin.drain()
        (length,) = frames.LENGTH.unpack(await process.stdout.readexactly(frames.LENGTH.size))
        if length > frames.MAX_REPLY_BYTES:
            raise DocumentUnreadable("the document made its parser fail")
        return await process.stdout.readexactly(length)

    async def _started(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        limits = [str(value) for value in (self._limits.memory_bytes, self._limits.cpu_s, self._limits.max_text_chars)]
        try:
            # -P: the folder the server was started in holds no modules of ours.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", _MODULE, *limits),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=_ENVIRONMENT,
            )
        except OSError as exc:
            raise BackendUnavailable("the document parser cannot be started: the machine is out of resources") from exc
        self._parsed = 0
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
