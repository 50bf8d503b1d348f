"""grpc.health.v1: is this process, or one of its services, ready for calls?

The library's own servicer is not used: its Watch never ends by itself, so one watcher would hold up every drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as rpc

SERVICE: Final = "grpc.health.v1.Health"
OVERALL: Final = ""  # the name probes use for the process as a whole


class HealthService:
    """Readiness by service name, all services together: they share their process's fate.

    Args:
        services: Full names of the services served here.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._serving = dict.fromkeys((OVERALL, *services), False)
        self._changed = asyncio.Event()  # set once and replaced: whoever waits on the old one looks again
        self._is_closing = False

    def set_serving(self, is_serving: bool, *names: str) -> None:
        """Set the readiness of the named services, of all when none is named; ignored once closing."""
        if self._is_closing:
            return
        self._serving.update(dict.fromkeys(names or tuple(self._serving), is_serving))
        self._tell()

    def close(self) -> None:
        """Nothing is ready any more, for good; watchers are told and their streams end."""
        self.set_serving(False)
        self._is_closing = True
        self._tell()

    def _tell(self) -> None:
        self._changed, told = asyncio.Event(), self._changed
        told.set()

    async def Check(  # noqa: N802  # the contract's name
        self, request: pb.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.HealthCheckResponse:
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return pb.HealthCheckResponse(status=self._status(request.service))

    async def Watch(  # noqa: N802  # the contract's name
        self, request: pb.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        del context
        told: Any = None
        while True:
            while not self._is_closing and self._status(request.service) == told:
                await self._changed.wait()
            if self._status(request.service) == told:
                return  # closing, and said so
            told = self._status(request.service)
            yield pb.HealthCheckResponse(status=told)

    def _status(self, service: str) -> pb.HealthCheckResponse.ServingStatus:
        if service not in self._serving:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.SERVING if self._serving[service] else pb.HealthCheckResponse.NOT_SERVING


def add(service: HealthService, server: grpc.aio.Server) -> None:
    """Bind it to a server."""
    rpc.add_HealthServicer_to_server(service, server)
