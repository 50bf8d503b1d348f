"""MaintenanceService: wire -> domain -> wire, for operators alone. Nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from rag.retriever.v1 import maintenance_pb2 as pb
from rag.retriever.v1 import maintenance_pb2_grpc as rpc

from chassis.admission import Limit
from chassis.auth import require
from chassis.context import CallContext, current
from chassis.errors import LayoutOutdated
from chassis.identity import ROLE_OPERATOR
from chassis.server import ServiceBinding
from retriever.operations import Operations
from retriever.upkeep.findings import Progress
from retriever.upkeep.ports import Migrates
from retriever.wire.maintenance import (
    from_migration,
    from_progress,
    from_reindex,
    from_report,
    from_stores,
    to_collection,
    to_keep,
)

ServicerContext = Any  # the frame hands everything over through chassis.context
FULL_NAME: Final = "rag.retriever.v1.MaintenanceService"
RUNS: Final = 2  # of one method at once: each reads whole stores
LIMITS: Final = {
    f"/{FULL_NAME}/{method}": Limit(RUNS, RUNS)
    for method in ("VerifyCollection", "ReindexCollection", "RollBackCollection", "MigrateStores")
}


class MigrationService(rpc.MaintenanceServiceServicer):
    """What a retriever serves that waits for its stores to be migrated: that, and the reason for everything else."""

    def __init__(self, migration: Migrates) -> None:
        self._migration = migration

    async def MigrateStores(  # noqa: N802  # the contract's name, as are all of this module's
        self, request: pb.MigrateStoresRequest, _context: ServicerContext
    ) -> AsyncGenerator[pb.MigrateStoresResponse, None]:
        del request
        call = _call()
        async with aclosing(self._migration.migrate(budget=call.budget.less())) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Progress):
                    yield pb.MigrateStoresResponse(progress=from_progress(event))
                else:
                    yield pb.MigrateStoresResponse(report=from_migration(event))

    async def _refused(self, request: Any, context: ServicerContext) -> Any:
        del request, context
        raise _outdated()

    async def _refused_stream(self, request: Any, context: ServicerContext) -> AsyncGenerator[Any, None]:
        del request, context
        for nothing in list[Any]():
            yield nothing  # what makes it a stream
        raise _outdated()

    VerifyStores = CancelReindex = _refused
    VerifyCollection = ReindexCollection = RollBackCollection = _refused_stream


class MaintenanceService(MigrationService):
    """All of it."""

    def __init__(self, operations: Operations) -> None:
        super().__init__(operations)
        self._operations = operations

    async def VerifyCollection(  # noqa: N802
        self, request: pb.VerifyCollectionRequest, _context: ServicerContext
    ) -> AsyncGenerator[pb.VerifyCollectionResponse, None]:
        call = _call()
        name = to_collection(request.collection)
        run = self._operations.verify(call.identity, name, repair=request.repair, budget=call.budget.less())
        async with aclosing(run) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Progress):
                    yield pb.VerifyCollectionResponse(progress=from_progress(event))
                else:
                    yield pb.VerifyCollectionResponse(report=from_report(event))

    async def VerifyStores(  # noqa: N802
        self, request: pb.VerifyStoresRequest, _context: ServicerContext
    ) -> pb.VerifyStoresResponse:
        call = _call()
        report = await self._operations.verify_stores(call.identity, repair=request.repair, budget=call.budget.less())
        return from_stores(report)

    async def ReindexCollection(  # noqa: N802
        self, request: pb.ReindexCollectionRequest, _context: ServicerContext
    ) -> AsyncGenerator[pb.ReindexCollectionResponse, None]:
        call = _call()
        keep = to_keep(request)
        run = self._operations.reindex(
            call.identity, request.collection, embedder=request.embedder, keep=keep, budget=call.budget.less()
        )
        async with aclosing(run) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Progress):
                    yield pb.ReindexCollectionResponse(progress=from_progress(event))
                else:
                    yield pb.ReindexCollectionResponse(report=from_reindex(event))

    async def RollBackCollection(  # noqa: N802
        self, request: pb.RollBackCollectionRequest, _context: ServicerContext
    ) -> AsyncGenerator[pb.RollBackCollectionResponse, None]:
        call = _call()
        name = to_collection(request.collection)
        run = self._operations.roll_back(call.identity, name, budget=call.budget.less())
        async with aclosing(run) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Progress):
                    yield pb.RollBackCollectionResponse(progress=from_progress(event))
                else:
                    yield pb.RollBackCollectionResponse(report=from_reindex(event))

    async def CancelReindex(  # noqa: N802
        self, request: pb.CancelReindexRequest, _context: ServicerContext
    ) -> pb.CancelReindexResponse:
        call = _call()
        name = to_collection(request.collection)
        was_building = await self._operations.cancel(call.identity, name, budget=call.budget.less())
        return pb.CancelReindexResponse(was_building=was_building)


def _outdated() -> LayoutOutdated:
    _call()
    return LayoutOutdated("the stores have an older layout: run `askmesh collections migrate` first")


def bound(service: MigrationService) -> ServiceBinding:
    """The service as a server takes it."""
    return ServiceBinding(FULL_NAME, rpc.add_MaintenanceServiceServicer_to_server, service)


def _call() -> CallContext:
    call = current()
    require(call.identity, ROLE_OPERATOR)
    return call
