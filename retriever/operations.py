"""Everything MaintenanceService can do, composed from a set of leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta

from chassis.budget import Budget
from chassis.errors import InvalidRequest
from chassis.identity import Identity
from retriever import embedders
from retriever.ingest.commit import utc_now
from retriever.search.opening import Process
from retriever.settings import RetrieverSettings
from retriever.upkeep.findings import CollectionReport, MigrationReport, Progress
from retriever.upkeep.ports import Migrates, UpkeepStores
from retriever.upkeep.reindex import ReindexReport
from retriever.upkeep.reindexing import Reindexer
from retriever.upkeep.repair import Repairer
from retriever.upkeep.stored import Recipe
from retriever.upkeep.stores import StoresReport, verify_stores
from retriever.upkeep.verify import Verifier


class Operations:
    """Checks, rebuilds and migrations, for the tenant of whoever asks.

    Args:
        settings: Which embedders there are.
        process: The process's own embedder.
        stores: What is kept in order.
    """

    def __init__(
        self, settings: RetrieverSettings, process: Process, stores: UpkeepStores, migration: Migrates
    ) -> None:
        self._settings = settings
        self._process = process
        self._stores = stores
        self._migration = migration
        repairer = Repairer(stores, self._recipe_for, owner=process.owner, now=utc_now)
        self._verifier = Verifier(stores, repairer)
        self._reindexer = Reindexer(stores, self._recipe_for, owner=process.owner, now=utc_now)

    def verify(
        self, identity: Identity, collection: str, *, repair: bool, budget: Budget
    ) -> AsyncIterator[Progress | CollectionReport]:
        """See Verifier.verify."""
        return self._verifier.verify(identity.tenant, collection, repair=repair, budget=budget)

    async def verify_stores(self, identity: Identity, *, repair: bool, budget: Budget) -> StoresReport:
        """See retriever.upkeep.stores."""
        return await verify_stores(self._stores, identity.tenant, repair=repair, budget=budget)

    async def reindex(
        self, identity: Identity, collection: str, *, embedder: str, keep: timedelta | None, budget: Budget
    ) -> AsyncIterator[Progress | ReindexReport]:
        """See Reindexer.reindex; the embedder is one of embedders.NAMES, or "" for the process's own."""
        async with AsyncExitStack() as stack:
            recipe = await self._recipe(stack, embedder)
            run = self._reindexer.reindex(identity.tenant, collection, recipe, keep=keep, budget=budget)
            async with aclosing(run) as events:  # type: ignore[type-var]  # an async generator
                async for event in events:
                    yield event

    def roll_back(
        self, identity: Identity, collection: str, *, budget: Budget
    ) -> AsyncIterator[Progress | ReindexReport]:
        """See Reindexer.roll_back."""
        return self._reindexer.roll_back(identity.tenant, collection, budget=budget)

    async def cancel(self, identity: Identity, collection: str, *, budget: Budget) -> bool:
        """See Reindexer.cancel."""
        return await self._reindexer.cancel(identity.tenant, collection, budget=budget)

    def migrate(self, *, budget: Budget) -> AsyncIterator[Progress | MigrationReport]:
        """See Migrates."""
        return self._migration.migrate(budget=budget)

    async def _recipe(self, stack: AsyncExitStack, name: str) -> Recipe:
        own = self._process.embedder
        if name and name not in embedders.NAMES:
            raise InvalidRequest.field("embedder", f"must be one of {', '.join(embedders.NAMES)}, or empty")
        if not name or name == embedders.name_of(self._settings):
            return self._recipe_for(own.fingerprint if own else "")
        opened = await embedders.open_embedder(name, stack, self._settings, self._process.telemetry)
        return Recipe(opened.fingerprint if opened else "", opened, embedders.token_spans(opened or own))

    def _recipe_for(self, fingerprint: str) -> Recipe:
        own = self._process.embedder
        has_it = own is not None and own.fingerprint == fingerprint
        return Recipe(fingerprint, own if has_it else None, embedders.token_spans(own))
