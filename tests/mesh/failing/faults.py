"""Replicas that fail as often as a test says, and every attempt they got.

The fault is in the callee's own sidecar: Envoy's fault filter, which istiod puts into each inbound listener. So our
processes need no switch, and the caller's sidecar sees a server that says UNAVAILABLE in trailers alone, as ours do.
The filter is armed once, at 0 %, by an EnvoyFilter; from then on a test sets the share in the sidecar's runtime: at
once, and without a push (docs/decisions/0115).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from askmesh.rig import envoy
from askmesh.rig.fleet import Replica
from askmesh.rig.mesh import NAMESPACE, Member, Mesh
from askmesh.rig.process import POLL_S
from tests.mesh.conftest import KNOWN_S

FAULT = "envoy.filters.http.fault"
UNAVAILABLE = 503  # to a call of gRPC the filter says it in gRPC's words
DELAY_MS = 100  # shorter than a try of the mesh (200), much longer than an answer takes: calls pile up
_NEVER = {"numerator": 0, "denominator": "HUNDRED"}
_CONFIG = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
    "abort": {"http_status": UNAVAILABLE, "percentage": _NEVER},
    "delay": {"fixed_delay": f"{DELAY_MS / 1_000}s", "percentage": _NEVER},
}
_LISTENER = {
    "filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": FAULT}}}
}
ARMED = {
    "apiVersion": "networking.istio.io/v1alpha3",
    "kind": "EnvoyFilter",
    "metadata": {"name": "rig-faults", "namespace": NAMESPACE},
    "spec": {
        "configPatches": [
            {
                "applyTo": "HTTP_FILTER",
                "match": {"context": "SIDECAR_INBOUND", "listener": _LISTENER},
                "patch": {"operation": "MERGE", "value": {"name": FAULT, "typed_config": _CONFIG}},
            }
        ]
    },
}


@asynccontextmanager
async def armed(mesh: Mesh, members: Iterable[Member]) -> AsyncIterator[None]:
    """Every workload of the namespace can be made to fail; these are already up."""
    await mesh.kubernetes.client.apply(ARMED)
    try:
        async with asyncio.timeout(KNOWN_S):
            for member in members:
                await _until_listening(member, is_armed=True)
        yield
    finally:
        await mesh.kubernetes.client.delete(ARMED)
        async with asyncio.timeout(KNOWN_S):
            for member in members:
                await _until_listening(member, is_armed=False)


async def _until_listening(member: Member, *, is_armed: bool) -> None:
    while await _is_armed(member) != is_armed:  # noqa: ASYNC110  # a push has no event to wait for
        await asyncio.sleep(POLL_S)


async def _is_armed(member: Member) -> bool:
    return '"abort"' in await envoy.admin(member.envoy, "/config_dump?resource=dynamic_listeners")


async def fail(replicas: Iterable[Replica], percent: int, *, delayed: bool = False) -> None:
    """From now on so many of a hundred calls end UNAVAILABLE, all of them late if `delayed`."""
    values = {
        "fault.http.abort.abort_percent": percent,
        "fault.http.delay.fixed_delay_percent": 100 if delayed else 0,
    }
    for replica in replicas:
        await envoy.set_runtime(replica.member.envoy, values)


async def attempts(replicas: Iterable[Replica]) -> int:
    """Calls that arrived at their sidecars until now, failed by the fault or not."""
    return await _counted(replicas, "downstream_rq_total")


async def aborted(replicas: Iterable[Replica]) -> int:
    """Those that the fault failed."""
    return await _counted(replicas, "fault.aborts_injected")


async def _counted(replicas: Iterable[Replica], name: str) -> int:
    found = [await envoy.stats(each.member.envoy, f"^http.inbound_.*_{_port(each)}.*{name}") for each in replicas]
    return sum(count for counters in found for count in counters.values())


async def told_by(caller: Member, name: str) -> int:
    """A figure of the caller's sidecar on the retrievers it draws from: "upstream_rq_retry", "upstream_rq_active"."""
    found = await envoy.stats(caller.envoy, f"outbound.50052.v1.retriever.*{name}$")
    return sum(found.values())


async def relisted(mesh: Mesh, replicas: Sequence[Replica], caller: Member) -> None:
    """Take them out and in again: the caller's sidecar then knows nothing of how they were."""
    async with asyncio.timeout(KNOWN_S):
        for replica in replicas:
            await mesh.withdraw(replica.member)
        for replica in replicas:
            await mesh.until_forgotten(replica.member, caller)
        for replica in replicas:
            await mesh.enlist(replica.member)
        for replica in replicas:
            await mesh.until_known(replica.member, caller)


def _port(replica: Replica) -> int:
    """The port its callers dial."""
    return next(iter(replica.member.workload.ports.values()))
