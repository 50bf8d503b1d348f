"""Is it alive, is it ready, what is it, what did it count: /healthz, /readyz, /metrics and the original's actuator.

Rule 1: liveness looks at nothing but this process; readiness at what it takes to answer or to degrade. The orchestrator
        degrades by itself, so the gateway is ready as long as that one is.
Rule 2: dependencies are asked at most once a second, however often probes come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.budget import Clock
from chassis.telemetry import Telemetry
from gateway.exchange import Exchange
from gateway.json_faults import Json
from gateway.upstream import ORCHESTRATOR_PACKAGE, RETRIEVER_PACKAGE, Upstream

PROBE_TIMEOUT_S = 0.5  # a kubelet's own default is 1 s
PROBE_TTL_S = 1.0

COMPONENTS: Mapping[str, tuple[str, str]] = {
    "orchestrator": (ORCHESTRATOR_PACKAGE, "rag.orchestrator.v1.OrchestratorService"),
    "retriever": (RETRIEVER_PACKAGE, "rag.retriever.v1.RetrieverService"),
}
REQUIRED = "orchestrator"


@dataclass(frozen=True, slots=True)
class Health:
    """What the last look at the dependencies showed."""

    seen: float
    is_up: Mapping[str, bool]


class StatusPages:
    """Handlers of the gateway's own state."""

    def __init__(self, upstream: Upstream, telemetry: Telemetry, *, clock: Clock = time.monotonic) -> None:
        self._upstream = upstream
        self._telemetry = telemetry
        self._clock = clock
        self._health: Health | None = None
        self._looking = asyncio.Lock()
        self.is_draining = False

    async def liveness(self, exchange: Exchange) -> None:
        await exchange.respond_json({"status": "UP"})

    async def readiness(self, exchange: Exchange) -> None:
        status = await self._status()
        await exchange.respond_json({"status": status}, 200 if status == "UP" else 503)

    async def health(self, exchange: Exchange) -> None:
        """The whole picture, as Spring Boot's actuator shows it."""
        status = await self._status()
        components: Json = {
            name: {"status": "UP" if is_up else "DOWN"} for name, is_up in (await self._look()).is_up.items()
        }
        body = {"status": status, "components": components, "groups": ["liveness", "readiness"]}
        await exchange.respond_json(body, 200 if status == "UP" else 503)

    async def info(self, exchange: Exchange) -> None:
        await exchange.respond_json({"app": {"name": "askmesh", "version": metadata.version("askmesh")}})

    async def metrics(self, exchange: Exchange) -> None:
        body, content_type = self._telemetry.exposition()
        await exchange.respond(200, body, content_type)

    async def _status(self) -> str:
        if self.is_draining:
            return "OUT_OF_SERVICE"
        return "UP" if (await self._look()).is_up[REQUIRED] else "DOWN"

    async def _look(self) -> Health:
        async with self._looking:
            if self._health is None or self._clock() - self._health.seen >= PROBE_TTL_S:
                async with asyncio.TaskGroup() as group:
                    looks = {name: group.create_task(self._is_up(*where)) for name, where in COMPONENTS.items()}
                self._health = Health(self._clock(), {name: look.result() for name, look in looks.items()})
            return self._health

    async def _is_up(self, package: str, service: str) -> bool:
        stub = health_pb2_grpc.HealthStub(self._upstream.channel(package))
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            found = await stub.Check(request, timeout=PROBE_TIMEOUT_S)
        except grpc.RpcError:  # it does not answer, which is the answer
            return False
        return bool(found.status == health_pb2.HealthCheckResponse.SERVING)
