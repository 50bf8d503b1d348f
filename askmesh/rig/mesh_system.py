"""The whole system with sidecars on one machine: stores, model server, services, and the manifests of a cluster.

What is applied is deploy/overlays/kind and, by it, istio/base. Of deploy/ the rig then runs what our services are:
their settings are those of the ConfigMaps, with the addresses of the rig's own stores. The stores stay outside of the
mesh, since only gRPC calls go through a sidecar here (docs/decisions/0112); Triton is inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmesh.rig import mesh_config
from askmesh.rig.cluster import running_cluster
from askmesh.rig.fleet import ADDRESSES, DOMAIN, Fleet, Replica, running_fleet
from askmesh.rig.kube_client import KubeRefused
from askmesh.rig.mesh import NAMESPACE, Member, Mesh, running_mesh
from askmesh.rig.part import ROOT
from askmesh.rig.process import Server
from askmesh.rig.sidecars import Workload

MANIFESTS = ROOT / "deploy" / "overlays" / "kind"
TRITON_SERVICE = ROOT / "deploy" / "triton" / "kserve" / "service.yaml"  # a laptop's cluster has no model server
REPLICAS = {"retriever": 2, "orchestrator": 2, "gateway": 1}
TRITON_PORTS = {"grpc-inference": 8001, "http-metrics": 8002}
# Settings of a cluster that mean nothing here: keys and a collector that are not there.
LEFT_OUT = ("AUTH", "API_KEYS_FILE", "OTLP_ENDPOINT")
# The mirror in Redis is the retrievers' and the orchestrators' together.
SHARED = ("REDIS_URL", "REDIS_SECRET")


@dataclass(frozen=True, slots=True)
class MeshSystem:
    """It runs.

    Attributes:
        caller: The sidecar of the account "client", which may ask: calls into the mesh begin at its `outbound`.
    """

    mesh: Mesh
    stores: tuple[Server, ...]
    replicas: tuple[Replica, ...]
    caller: Member

    def description(self) -> list[str]:
        """What runs where, and how to ask it, for a person."""
        found = [f"# {store.name} {store.version} at {store.url}, log {store.log}" for store in self.stores]
        found += [f"# {_line(replica)}" for replica in self.replicas]
        gateway, orchestrator = f"gateway.{DOMAIN}", ADDRESSES["orchestrator"]
        return [
            *found,
            f"# kubectl --kubeconfig {self.mesh.kubernetes.kubeconfig} get virtualservices -n {NAMESPACE}",
            f"# As the account client: curl --resolve {gateway}:8080:{self.caller.outbound} http://{gateway}:8080/readyz",
            f"#   grpcurl -plaintext -authority {orchestrator} {self.caller.outbound}:50051 list",
            "# Ctrl-C stops it all.",
        ]


def _line(replica: Replica) -> str:
    member = replica.member
    addresses = " ".join(f"{name}={member.address(name)}" for name in member.workload.ports)
    return f"{member.workload.name} at {addresses}, sidecar's figures at {member.envoy.url}, log {replica.service.log}"


@asynccontextmanager
async def running_mesh_system(folder: Path) -> AsyncIterator[MeshSystem]:
    """Everything, ready to be asked; logs and data are below `folder`.

    Raises:
        RigMissing: a part is not built.  RigFailed: something did not start.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(running_cluster(folder / "stores"))
        mesh = await stack.enter_async_context(running_mesh(folder / "mesh", config=mesh_config.installed()))
        await mesh.kubernetes.kubectl("apply", "--server-side", "--validate=strict", "-k", str(MANIFESTS))
        await mesh.kubernetes.apply(TRITON_SERVICE)
        await stack.enter_async_context(enlisted(mesh, stores.servers["triton"], folder / "triton-sidecar"))
        account = Workload("client-0", {"app": "client"}, NAMESPACE, "client")
        caller = await stack.enter_async_context(mesh.sidecar(account, folder / "client"))
        fleet = await stack.enter_async_context(running_fleet(mesh, folder / "services"))
        replicas = await _replicas(fleet, stores.settings)
        yield MeshSystem(mesh, tuple(stores.servers.values()), replicas, caller)


@asynccontextmanager
async def enlisted(mesh: Mesh, triton: Server, folder: Path) -> AsyncIterator[Member]:
    """Triton as a workload of the mesh, for both variants."""
    labels = {"app": "triton", "app.kubernetes.io/name": "triton", "serves-v1": "true", "serves-v2": "true"}
    workload = Workload("triton-0", labels, NAMESPACE, "triton", TRITON_PORTS)
    targets = {"grpc-inference": triton.ports["grpc"], "http-metrics": triton.ports["metrics"]}
    places = {name: f"{triton.host}:{port}" for name, port in targets.items()}
    async with mesh.sidecar(workload, folder, targets=places) as member:
        await mesh.enlist(member)
        yield member
        await mesh.withdraw(member)


async def _replicas(fleet: Fleet, stores: Mapping[str, str]) -> tuple[Replica, ...]:
    settings = {role: await environment_of(fleet.mesh, role, stores) for role in REPLICAS}
    roles = [role for role, count in REPLICAS.items() for _ in range(count)]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fleet.start(role, environment=settings[role])) for role in roles]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None  # one line for a person; the others were cancelled
    return tuple(task.result() for task in tasks)


async def environment_of(mesh: Mesh, role: str, stores: Mapping[str, str]) -> Mapping[str, str]:
    """A service's settings: its ConfigMaps', less what the rig lacks, with the rig's stores."""
    found = {**await _config_map(mesh, "askmesh"), **await _config_map(mesh, role)}
    kept = {name: value for name, value in found.items() if not name.endswith(LEFT_OUT)}
    prefix = f"ASKMESH_{role.upper()}_"
    own = {name: value for name, value in stores.items() if name.startswith(prefix)}
    match role:
        case "orchestrator":
            own["ASKMESH_ORCHESTRATOR_TRITON_ADDRESS"] = ADDRESSES["triton"]
        case "retriever":
            own |= {prefix + name: stores[f"ASKMESH_ORCHESTRATOR_{name}"] for name in SHARED}
            own[f"{prefix}PAGE_TOKEN_KEY"] = own[f"{prefix}REDIS_SECRET"]  # the same in all replicas
    return {**kept, **own}


async def _config_map(mesh: Mesh, name: str) -> Mapping[str, str]:
    try:
        found: Any = await mesh.kubernetes.client.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")
    except KubeRefused:
        return {}
    data: Mapping[str, str] = found.get("data", {})
    return data
