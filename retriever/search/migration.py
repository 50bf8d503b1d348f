"""Migrations of whole sets of leaves."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Protocol

from chassis.budget import Budget
from chassis.errors import RagError
from retriever.ingest.lease import LeaseKeeper
from retriever.ports import Leases
from retriever.upkeep.findings import MigrationReport, Progress
from retriever.upkeep.ports import STEP_S

LEASE: Final = "migration"


class Mover(Protocol):
    """One store's migration."""

    migrated: int
    current: int

    def migrate(self, *, budget: Budget) -> AsyncIterator[Progress]: ...


class NothingToMigrate:
    """The embedded store, whose file is brought up to date when it is opened."""

    async def migrate(self, *, budget: Budget) -> AsyncIterator[Progress | MigrationReport]:
        """See retriever.upkeep.ports.Migrates."""
        del budget
        yield MigrationReport(migrated=0, current=1)


class Migration:
    """Stores one after another, under a lease: the first run to come does it, others are refused.

    Args:
        movers: The store last whose layout a retriever looks at when it starts: all others are done by then.
    """

    def __init__(self, movers: tuple[Mover, ...], leases: Leases, *, owner: str) -> None:
        self._movers = movers
        self._leases = leases
        self._owner = owner

    async def migrate(self, *, budget: Budget) -> AsyncIterator[Progress | MigrationReport]:
        """See retriever.upkeep.ports.Migrates. Progress renews the lease: what lies between is one step of a store."""
        lease = LeaseKeeper(self._leases, LEASE, owner=f"{self._owner} {secrets.token_hex(4)}")
        await lease.take(budget=budget)
        try:
            for mover in self._movers:
                async for progress in mover.migrate(budget=budget):
                    yield progress
                    with suppress(RagError):  # the catalogue itself may be closed for writes at this moment
                        await lease.hold(budget=budget.within(STEP_S))
        finally:
            with suppress(RagError):
                await lease.release(budget=Budget.of(STEP_S))
        migrated = sum(mover.migrated for mover in self._movers)
        yield MigrationReport(migrated, sum(mover.current for mover in self._movers))
