"""A mesh on one machine: a Kubernetes API, istiod, certificates, and a stock Envoy beside each workload.

    async with running_mesh(folder) as mesh:
        await mesh.kubernetes.apply(Path("istio"))
        async with mesh.sidecar(workload, folder / "a", targets={"grpc-api": "127.0.0.1:4321"}) as member:
            await mesh.enlist(member)
            ...  # others reach it at member.address("grpc-api"), and its process reaches them through member.outbound

Istio's and Kubernetes' objects are applied as they are; istiod finds Services, workloads, accounts and policies as in a
cluster. What a cluster has and one machine has not, the rig writes, the same two objects for each workload:

- a WorkloadEntry instead of a Pod: the API refuses loopback addresses in an EndpointSlice. A Service's selector takes
  WorkloadEntries as it takes Pods, so nothing of the Service changes.
- a Sidecar bound to addresses, since nothing redirects traffic: it has the hosts of the Sidecar that the applied ones
  give the workload; its outbound listeners are at an address of their own, where the process sends its calls
  (ASKMESH_OUTBOUND_PROXY); its inbound ones are at the workload's address, and only they lead to the process.

The oldest Sidecar that selects a workload wins. So a mesh begins by making one for each workload there may ever be, and
fills it in when the workload comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmesh.rig import envoy, loopback
from askmesh.rig.istio import running_istiod
from askmesh.rig.kubernetes import Kubernetes, running_kubernetes
from askmesh.rig.process import POLL_S, Server
from askmesh.rig.sds import running_sds
from askmesh.rig.sidecars import Place, Workload, entry, labels_of, scope_of, slots, twin, unused

NAMESPACE = "rag"


@dataclass(frozen=True, slots=True)
class Member:
    """A workload with its sidecar."""

    workload: Workload
    place: Place
    envoy: Server

    def address(self, port: str) -> str:
        """Where the mesh reaches this port of it."""
        return f"{self.place.address}:{self.workload.ports[port]}"

    @property
    def outbound(self) -> str:
        """The host of its sidecar's outbound listeners, one per port of the services it may call."""
        return self.place.outbound


class Mesh:
    """See the module. Made by `running_mesh`."""

    def __init__(self, kubernetes: Kubernetes, istiod: Server, sds: Server, places: Iterator[Place]) -> None:
        self.kubernetes = kubernetes
        self.istiod = istiod
        self._sds = sds
        self._places = places

    def place(self) -> Place:
        """Addresses for one workload more."""
        return next(self._places)

    @asynccontextmanager
    async def sidecar(
        self, workload: Workload, folder: Path, *, place: Place | None = None, targets: Mapping[str, str] | None = None
    ) -> AsyncIterator[Member]:
        """The workload's sidecar, configured; nobody finds the workload before `enlist`.

        Args:
            folder: The sidecar's log and bootstrap.
            place: From `self.place()`, when its process had to know it already.
            targets: Where its process listens by port name, as "127.0.0.1:port"; a caller that serves nothing has none.
        Raises:
            RigFailed: the sidecar was not configured in time.
        """
        place = place or self.place()
        client = self.kubernetes.client
        await client.apply(twin(workload, place, await scope_of(client, workload), targets or {}))
        node = envoy.Node(
            workload.name,
            workload.namespace,
            workload.service_account,
            place.address,
            labels_of(workload, place),
        )
        async with envoy.running_envoy(folder, node, istiod=self.istiod, sds=self._sds) as sidecar:
            yield Member(workload, place, sidecar)

    async def enlist(self, member: Member) -> None:
        """Make it an endpoint of the Services that select it, as a pod that has become ready."""
        await self.kubernetes.client.apply(entry(member.workload, member.place))

    async def until_known(self, member: Member, caller: Member) -> None:
        """Return when the caller's sidecar has the member among its endpoints, all ports that Services name."""
        while f"{member.place.address}:" not in await envoy.admin(caller.envoy, "/clusters"):  # noqa: ASYNC110  # no event
            await asyncio.sleep(POLL_S)

    async def until_forgotten(self, member: Member, caller: Member) -> None:
        """Return when the caller's sidecar has the member no more."""
        while f"{member.place.address}:" in await envoy.admin(caller.envoy, "/clusters"):  # noqa: ASYNC110  # no event
            await asyncio.sleep(POLL_S)

    async def withdraw(self, member: Member) -> None:
        """The opposite, as for a pod that ends."""
        await self.kubernetes.client.delete(entry(member.workload, member.place))


@asynccontextmanager
async def running_mesh(
    folder: Path, *, config: Mapping[str, Any] | None = None, namespaces: Sequence[str] = (NAMESPACE,)
) -> AsyncIterator[Mesh]:
    """An empty mesh; its logs are below `folder`.

    Args:
        config: Istio's MeshConfig, as the installation has it.
        namespaces: That may have workloads.
    Raises:
        RigMissing: a part is not built.  RigFailed: a server did not start.
    """
    async with AsyncExitStack() as stack:
        addresses = stack.enter_context(loopback.block())
        kubernetes = await stack.enter_async_context(running_kubernetes(folder / "kubernetes"))
        sds = await stack.enter_async_context(running_sds(folder / "sds"))
        await _prepare(kubernetes, namespaces)
        istiod = await stack.enter_async_context(running_istiod(folder / "istiod", kubernetes, mesh=config))
        yield Mesh(kubernetes, istiod, sds, (Place(next(addresses), next(addresses), slot) for slot in slots()))


async def _prepare(kubernetes: Kubernetes, namespaces: Sequence[str]) -> None:
    """The namespaces, and the Sidecars that must be the oldest."""
    client = kubernetes.client
    for name in namespaces:
        await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    async with asyncio.TaskGroup() as group:
        for name in namespaces:
            for slot in slots():
                group.create_task(client.apply(unused(slot, name)))
