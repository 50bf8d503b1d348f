"""The operator's client: checks, rebuilds and migrations over gRPC, with their progress. Needs the role "operator"."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from rag.retriever.v1 import maintenance_pb2 as pb
from rag.retriever.v1 import maintenance_pb2_grpc as rpc

from askmesh.client import typed_errors
from chassis.channel import open_channel
from chassis.errors import BackendUnavailable

DEADLINE_S: Final = 7 * 24 * 3600.0  # a rebuild of a large collection takes hours; Ctrl-C ends one sooner
Watch = Callable[[pb.UpkeepProgress], None]
"""Is told of every step."""


def unwatched(progress: pb.UpkeepProgress) -> None:
    """For whoever wants the end alone."""


class OperatorClient:
    """Every method raises chassis.errors.RagError subclasses, one class per reason.

    Args:
        target: "host:port" or "unix:/path" of a retriever, or of a server that has all services.
        token: An API key or a JWT; empty for a server without credentials.
        deadline_s: Of one call.
    """

    def __init__(self, target: str, *, token: str = "", deadline_s: float = DEADLINE_S) -> None:
        self._channel = open_channel(target)
        self._stub = rpc.MaintenanceServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._deadline_s = deadline_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def verify(self, collection: str, *, repair: bool = False, watch: Watch = unwatched) -> pb.CollectionReport:
        """Compare a collection's catalogue with its stores; repair what can be."""
        request = pb.VerifyCollectionRequest(collection=collection, repair=repair)
        report: pb.CollectionReport = await self._last(self._stub.VerifyCollection, request, watch)
        return report

    async def verify_stores(self, *, repair: bool = False) -> pb.VerifyStoresResponse:
        """Look for what belongs to no collection."""
        request = pb.VerifyStoresRequest(repair=repair)
        with typed_errors():
            return await self._stub.VerifyStores(request, timeout=self._deadline_s, metadata=self._metadata)

    async def reindex(
        self, collection: str, *, embedder: str = "", keep_s: int = 0, watch: Watch = unwatched
    ) -> pb.ReindexReport:
        """Rebuild a collection and put the result in its place; see ReindexCollectionRequest."""
        request = pb.ReindexCollectionRequest(collection=collection, embedder=embedder, keep_seconds=keep_s)
        report: pb.ReindexReport = await self._last(self._stub.ReindexCollection, request, watch)
        return report

    async def roll_back(self, collection: str, *, watch: Watch = unwatched) -> pb.ReindexReport:
        """Put back what a reindex replaced."""
        request = pb.RollBackCollectionRequest(collection=collection)
        report: pb.ReindexReport = await self._last(self._stub.RollBackCollection, request, watch)
        return report

    async def cancel_reindex(self, collection: str) -> bool:
        """Remove an unfinished reindex; whether there was one."""
        request = pb.CancelReindexRequest(collection=collection)
        with typed_errors():
            reply = await self._stub.CancelReindex(request, timeout=self._deadline_s, metadata=self._metadata)
        return reply.was_building

    async def migrate(self, *, watch: Watch = unwatched) -> pb.MigrationReport:
        """Bring the stores to the current layout."""
        report: pb.MigrationReport = await self._last(self._stub.MigrateStores, pb.MigrateStoresRequest(), watch)
        return report

    async def _last(self, method: Any, request: Any, watch: Watch) -> Any:
        """What a stream ends with, its progress shown."""
        call = method(request, timeout=self._deadline_s, metadata=self._metadata)
        report: Any = None
        try:
            with typed_errors():
                async for message in call:
                    if message.WhichOneof("event") == "progress":
                        watch(message.progress)
                    else:
                        report = message.report
        finally:
            call.cancel()
        if report is None:
            raise BackendUnavailable("the server ended the call without a report: call again")
        return report
