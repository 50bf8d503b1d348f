"""What deploy/components/rollouts adds to the mesh: a tenth of the searches is made at the preview's pods as well, and
nobody waits for these. The preview's Service selects v2 here, as Argo Rollouts makes it select the new pods."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from math import sqrt

import grpc
from rag.retriever.v1 import retriever_pb2 as pb
from rag.retriever.v1 import retriever_pb2_grpc as rpc

from askmesh.rig import envoy
from askmesh.rig.fleet import ADDRESSES
from askmesh.rig.process import POLL_S
from chassis.channel import open_channel
from tests.deploy.documents import DEPLOY, ISTIO, built, one
from tests.mesh.calls import ENOUGH_S, QUESTION, served
from tests.mesh.conftest import caller

SEARCHES = 400
PUSHED_S = 30.0  # .1 s in quiet
SHARE = 0.1
AT_ONCE = 2  # what one retriever does at the same time: more would wait, and some be refused


def of_the_component(kind, name):
    return one(built(DEPLOY / "overlays" / "gke"), kind, name)


def patient(virtual_service):
    """The same with time for a try on a busy machine: a second one would be counted too."""
    found = copy.deepcopy(virtual_service)
    for route in found["spec"]["http"]:
        if "perTryTimeout" in route["retries"]:
            route["retries"]["perTryTimeout"] = f"{ENOUGH_S:.0f}s"
    return found


@asynccontextmanager
async def previewed(system, version):
    """A sidecar of the orchestrators' account, with the preview's Service selecting a version."""
    kubernetes = system.mesh.kubernetes
    preview = of_the_component("Service", "retriever-preview")
    selecting = {**preview, "spec": {**preview["spec"], "selector": {"app": "retriever", "version": version}}}
    objects = [patient(of_the_component("VirtualService", "retriever")), of_the_component("Sidecar", "orchestrator")]
    async with AsyncExitStack() as stack:
        try:
            await kubernetes.apply(*objects, selecting)
            folder = system.data.parent / f"searcher-{version}"
            yield await stack.enter_async_context(system.mesh.sidecar(caller("orchestrator"), folder))
        finally:
            for kind in ("virtualservice-retriever", "sidecar-orchestrator"):
                await kubernetes.apply(ISTIO / "base" / f"{kind}.yaml")
            await kubernetes.client.delete(preview)


async def until_known(system, member, preview=None):
    """The sidecar has the routes, v1's pods, and the preview's where there is one."""
    async with asyncio.timeout(PUSHED_S):
        await system.mesh.until_known(system.retrievers["v1"].member, member)
        while not await mirrors(member, preview):  # noqa: ASYNC110  # a push has no event to wait for
            await asyncio.sleep(POLL_S)


async def mirrors(member, preview):
    routes = await envoy.admin(member.envoy, "/config_dump?resource=dynamic_route_configs")
    clusters = (await envoy.admin(member.envoy, "/clusters")).splitlines()
    known = [line for line in clusters if "retriever-preview" in line]
    return "retriever-preview" in routes and (
        preview is None or any(f"::{preview.member.place.address}:" in line for line in known)
    )


async def searched(member):
    """Codes of the searches that leave through a sidecar."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one_search(stub):
        async with gate:
            try:
                await stub.Retrieve(pb.RetrieveRequest(collection="docs", query=QUESTION), timeout=ENOUGH_S)
            except grpc.RpcError as refused:
                return refused.code().name
            return "OK"

    async with open_channel(ADDRESSES["retriever"], proxy=member.outbound) as channel:
        stub = rpc.RetrieverServiceStub(channel)
        return Counter(await asyncio.gather(*(one_search(stub) for _ in range(SEARCHES))))


def searches_of(system):
    return {version: served(retriever, "Retrieve") for version, retriever in system.retrievers.items()}


async def test_a_tenth_of_the_searches_is_made_at_the_preview_as_well(system):
    async with previewed(system, "v2") as searcher:
        await until_known(system, searcher, preview=system.retrievers["v2"])
        before = searches_of(system)
        assert await searched(searcher) == {"OK": SEARCHES}
        expected, three_sigma = SHARE * SEARCHES, 3 * sqrt(SEARCHES * SHARE * (1 - SHARE))
        async with asyncio.timeout(PUSHED_S):  # the last of them may still be under way
            while searches_of(system)["v2"] - before["v2"] < expected - three_sigma:  # noqa: ASYNC110  # no event
                await asyncio.sleep(POLL_S)
        after = searches_of(system)
    assert after["v1"] - before["v1"] == SEARCHES
    assert after["v2"] - before["v2"] <= expected + three_sigma


async def test_a_preview_without_pods_is_no_outage(system):
    async with previewed(system, "of-a-pod-that-starts") as searcher:
        await until_known(system, searcher)
        assert await searched(searcher) == {"OK": SEARCHES}
