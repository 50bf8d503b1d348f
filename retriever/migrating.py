"""A retriever whose stores have an older layout: it serves their migration alone until that is done, then starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from chassis.budget import Budget
from chassis.errors import LayoutOutdated
from retriever import maintenance
from retriever.search.opening import Leaves, Process, open_leaves, open_migration
from retriever.settings import RetrieverSettings
from retriever.upkeep.findings import MigrationReport, Progress
from retriever.upkeep.ports import Migrates

Serving = Callable[..., AbstractAsyncContextManager[Any]]
"""chassis.server.serve with everything but its bindings."""

_log = logging.getLogger(__name__)


async def open_when_migrated(
    stack: AsyncExitStack, settings: RetrieverSettings, process: Process, serving: Serving
) -> Leaves:
    """`open_leaves`, after a migration where one is needed. Raises as it does."""
    while True:
        async with AsyncExitStack() as opening:
            try:
                leaves = await open_leaves(opening, settings, process)
            except LayoutOutdated as outdated:
                _log.warning("waiting for `askmesh collections migrate`", extra={"why": outdated.message})
            else:
                stack.push_async_exit(opening.pop_all())
                return leaves
        async with AsyncExitStack() as waiting:
            migration = Watched(await open_migration(waiting, settings, process))
            await waiting.enter_async_context(
                serving(bindings=[maintenance.bound(maintenance.MigrationService(migration))])
            )
            await migration.is_done.wait()


class Watched:
    """A migration that says when one was carried out."""

    def __init__(self, inner: Migrates) -> None:
        self._inner = inner
        self.is_done = asyncio.Event()

    async def migrate(self, *, budget: Budget) -> AsyncIterator[Progress | MigrationReport]:
        """See retriever.upkeep.ports.Migrates."""
        async for event in self._inner.migrate(budget=budget):
            yield event
        self.is_done.set()
