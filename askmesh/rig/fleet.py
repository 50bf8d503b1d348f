"""Replicas of our services in a mesh: each is a process and its sidecar, and ends as a pod does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from askmesh.rig import envoy, services
from askmesh.rig.mesh import NAMESPACE, Member, Mesh
from askmesh.rig.process import Server
from askmesh.rig.sidecars import Workload

# As in deploy/: what a container calls its ports.
PORTS: Mapping[str, Mapping[str, int]] = {
    "gateway": {"http-rest": 8080, "http-metrics": 9464},
    "orchestrator": {"grpc-api": 50051, "http-metrics": 9464},
    "retriever": {"grpc-api": 50052, "http-metrics": 9464},
}
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
ADDRESSES = {
    "orchestrator": f"orchestrator.{DOMAIN}:50051",
    "retriever": f"retriever.{DOMAIN}:50052",
    "triton": f"triton.{DOMAIN}:8001",
}
# A pod's preStop hook: callers learn in this time that it goes. A push takes istiod some 50 ms, a busy machine longer.
PRESTOP_S = 2.0
# A pod's terminationGracePeriodSeconds, counted from the beginning of its end.
GRACE_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Replica:
    """One replica, serving.

    Attributes:
        service: Its process; its "main" port is for its own sidecar only.
    """

    service: Server
    member: Member
    _mesh: Mesh
    _stack: AsyncExitStack

    async def stop(self, *, prestop_s: float = PRESTOP_S) -> None:
        """End it as Kubernetes ends a pod: no new calls, open ones end by themselves.

        At the same moment it stops being an endpoint, its sidecar begins to drain and its preStop hook to wait. Then
        the process gets SIGTERM. The sidecar carries its open calls to their end, and goes after it.

        Args:
            prestop_s: Of the pod's hook.
        """
        if self.service.is_running:
            await self._mesh.withdraw(self.member)
            await envoy.drain(self.member.envoy)
            await asyncio.sleep(prestop_s)
            await self.service.stop(within_s=GRACE_S - prestop_s)
            await envoy.until_idle(self.member.envoy)
        await self.close()

    async def close(self) -> None:
        """End it at once, open calls or not."""
        await self._mesh.withdraw(self.member)
        await self._stack.aclose()


class Fleet:
    """Starts replicas; those that are left at the end are closed. Made by `running_fleet`.

    Attributes:
        replicas: That were not stopped or closed.
    """

    def __init__(self, mesh: Mesh, folder: Path) -> None:
        self.mesh = mesh
        self.replicas: list[Replica] = []
        self._folder = folder
        self._numbers = itertools.count()

    async def start(
        self, role: str, *, version: str = "v1", environment: Mapping[str, str] | None = None, is_listed: bool = True
    ) -> Replica:
        """One replica more, ready.

        Args:
            role: gateway, orchestrator or retriever.
            version: The label that subsets select.
            environment: Settings besides those of the mesh.
            is_listed: False leaves it out of its Service until `mesh.enlist`.
        Raises:
            RigFailed: its process or its sidecar did not start.
        """
        workload = self._workload(role, version)
        folder = self._folder / workload.name
        place = self.mesh.place()
        settings = {**mesh_settings(role), **(environment or {}), "ASKMESH_OUTBOUND_PROXY": place.outbound}
        service = services.service(role, folder, environment=settings)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(service.stop)
            member = await stack.enter_async_context(
                self.mesh.sidecar(workload, folder / "sidecar", place=place, targets=targets(role, service))
            )
            # After its sidecar, as holdApplicationUntilProxyStarts has it: a service that cannot call out yet would
            # refuse its first asks.
            await service.start()
            if is_listed:
                await self.mesh.enlist(member)
            kept = stack.pop_all()
        replica = Replica(service, member, self.mesh, kept)
        self.replicas.append(replica)
        kept.callback(self.replicas.remove, replica)
        return replica

    def _workload(self, role: str, version: str) -> Workload:
        return Workload(f"{role}-{version}-{next(self._numbers)}", labels(role, version), NAMESPACE, role, PORTS[role])


@asynccontextmanager
async def running_fleet(mesh: Mesh, folder: Path) -> AsyncIterator[Fleet]:
    """No replicas yet; all that were started are closed at the end."""
    fleet = Fleet(mesh, folder)
    try:
        yield fleet
    finally:
        async with asyncio.TaskGroup() as group:
            for replica in tuple(fleet.replicas):
                group.create_task(replica.close())


def targets(role: str, service: Server) -> Mapping[str, str]:
    """Where its process listens, by the names of the pod's ports."""
    main, metrics = PORTS[role]
    return {main: f"{service.host}:{service.port}", metrics: f"{service.host}:{service.ports['metrics']}"}


def labels(role: str, version: str) -> Mapping[str, str]:
    """Of a pod of ours."""
    return {"app": role, "version": version, "app.kubernetes.io/part-of": "askmesh"}


def mesh_settings(role: str) -> dict[str, str]:
    """Where a service finds the others: names, as in a cluster."""
    prefix = f"ASKMESH_{role.upper()}_"
    match role:
        case "gateway":
            return {f"{prefix}{name.upper()}_ADDRESS": ADDRESSES[name] for name in ("orchestrator", "retriever")}
        case "orchestrator":
            return {f"{prefix}RETRIEVER_ADDRESS": ADDRESSES["retriever"]}
        case _:
            return {}
