"""One retrieval under way: what its stages share, and how a stage that is lost is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded
from embedding.ports import FloatArray
from retriever.fusion import LEG_DEPTH
from retriever.report import Report
from retriever.types import DegradedReason, Hit, RetrievalQuery

LOST = (BackendUnavailable, DeadlineExceeded, TimeoutError)
"""What a stage may fail with and be left out; anything else is a bug and surfaces as one."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the stages of one retrieval share."""

    query: RetrievalQuery
    report: Report
    timebox: Budget

    @property
    def depth(self) -> int:
        """Hits to ask of each leg: what fusion needs, or all that is to be returned."""
        return max(LEG_DEPTH, self.query.top_k)


async def leg(run: Run, stage: str, lost: DegradedReason, search: Awaitable[list[Hit]]) -> list[Hit] | None:
    """A leg's hits, or None (reported) when it fails or the timebox ends first; a late one is cancelled."""
    try:
        with run.report.timed(stage):
            async with asyncio.timeout(run.timebox.remaining_s()):
                return await search
    except LOST:
        run.report.drop(stage, lost)
        return None


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, FloatArray | None]) -> AsyncIterator[asyncio.Task[FloatArray | None]]:
    """Runs `work` beside the block; it has ended when the block has, cancelled if nobody waits for it any more."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the block failed first, or got it from the task already
