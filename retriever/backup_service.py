"""BackupService: wire -> archive -> wire, and who may call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from rag.retriever.v1 import backup_pb2 as pb
from rag.retriever.v1 import backup_pb2_grpc

from chassis.auth import require
from chassis.context import CallContext, current
from chassis.errors import InvalidRequest
from chassis.identity import ROLE_OPERATOR
from chassis.server import ServiceBinding
from retriever.backup.exporting import Exporter
from retriever.backup.importing import Importer, ImportTarget
from retriever.reading import CollectionView
from retriever.wire import checks
from retriever.wire.checks import Violations
from retriever.wire.documents import from_view

MAX_DATA_BYTES: Final = 1 << 20  # backup.proto, ImportCollectionRequest.data


class BackupService(backup_pb2_grpc.BackupServiceServicer):
    """Collections out and in."""

    def __init__(self, exporter: Exporter, importer: Importer) -> None:
        self._exporter = exporter
        self._importer = importer

    async def ExportCollection(  # noqa: N802  # the contract's name, as is the next one
        self, request: pb.ExportCollectionRequest, _context: Any
    ) -> AsyncGenerator[pb.ExportCollectionResponse, None]:
        call = _call()
        name = _collection(request.collection)
        async with aclosing(self._exporter.export(call.identity.tenant, name, budget=call.budget.less())) as parts:
            async for part in parts:
                yield pb.ExportCollectionResponse(
                    data=part.data, document_count=part.document_count, document_total=part.document_total
                )

    async def ImportCollection(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ImportCollectionRequest], _context: Any
    ) -> AsyncGenerator[pb.ImportCollectionResponse, None]:
        call = _call()
        target = await _target(request_iterator)
        intake = _Intake(request_iterator)
        work = asyncio.create_task(self._import(call, target, intake), name="import")
        try:
            while (progress := await intake.wanted.get()) is not None:
                yield pb.ImportCollectionResponse(progress=progress)
            yield await work
        finally:  # an import whose caller went away removes what it wrote
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _import(self, call: CallContext, target: ImportTarget, intake: _Intake) -> pb.ImportCollectionResponse:
        try:
            made = await self._importer.run(
                call.identity.tenant, target, intake.data(), budget=call.budget.less(), report=intake.report
            )
        finally:
            intake.wanted.put_nowait(None)
        return pb.ImportCollectionResponse(
            collection=from_view(CollectionView(made.head, made.document_count, made.chunk_count))
        )


class _Intake:
    """The archive's pieces, one asked for after the other."""

    def __init__(self, requests: AsyncIterator[pb.ImportCollectionRequest]) -> None:
        self._requests = requests
        self._progress = pb.ImportProgress()
        self.wanted: asyncio.Queue[pb.ImportProgress | None] = asyncio.Queue()

    def report(self, done: int, total: int) -> None:
        """Told by the importer, passed on with the next wish."""
        self._progress = pb.ImportProgress(document_count=done, document_total=total)

    async def data(self) -> AsyncIterator[bytes]:
        """The pieces; each is asked for when the one before was taken in."""
        self.wanted.put_nowait(self._progress)
        async for request in self._requests:
            if request.WhichOneof("item") != "data":
                raise InvalidRequest.field("item", "must be data after the first message")
            if len(request.data) > MAX_DATA_BYTES:
                raise InvalidRequest.field("data", f"must have at most {MAX_DATA_BYTES} bytes")
            yield request.data
            self.wanted.put_nowait(self._progress)


def _call() -> CallContext:
    call = current()
    require(call.identity, ROLE_OPERATOR)
    return call


def _collection(name: str) -> str:
    found = Violations()
    checks.collection(name, found)
    found.check()
    return name


async def _target(requests: AsyncIterator[pb.ImportCollectionRequest]) -> ImportTarget:
    async for request in requests:
        if request.WhichOneof("item") != "target":
            break
        wanted = request.target
        return ImportTarget(_collection(wanted.collection), replace=wanted.replace, reembed=wanted.reembed)
    raise InvalidRequest.field("target", "must be the first message")


def bound(service: BackupService) -> ServiceBinding:
    """The service as a server takes it."""
    return ServiceBinding(
        "rag.retriever.v1.BackupService",
        backup_pb2_grpc.add_BackupServiceServicer_to_server,
        service,
        {"ImportCollection": MAX_DATA_BYTES + 1_024},
    )
