"""Where asks go: by weight, by header, and by a policy that changes while they run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from askmesh.rig.part import ROOT
from tests.mesh.calls import ask_many, orchestrator_from, served

ASKS = 2_000
V1 = (("x-askmesh-variant", "v1"),)
V2 = (("x-askmesh-variant", "v2"),)
PUSHED_S = 30.0  # .1 s in quiet


@asynccontextmanager
async def canary(mesh, percent):
    """A step of istio/canary, and the way back."""
    await apply(mesh, percent)
    try:
        yield
    finally:
        await apply(mesh, 0)


async def apply(mesh, percent):
    await mesh.kubernetes.kubectl("apply", "--server-side", "-k", str(ROOT / "istio" / "canary" / str(percent)))


async def shares(system, stub, count, metadata=()):
    """How many of so many asks each version served; all must succeed."""
    before = {version: served(replica) for version, replica in system.orchestrators.items()}
    assert await ask_many(stub, count, metadata) == {"OK": count}
    return {version: served(replica) - before[version] for version, replica in system.orchestrators.items()}


async def until_drawn_to_v2(system, stub):
    """The routes of the client's sidecar are the new ones once v2 gets something."""
    async with asyncio.timeout(PUSHED_S):
        while (await shares(system, stub, 50))["v2"] == 0:
            pass


async def test_without_a_canary_every_ask_is_drawn_to_v1(system):
    async with orchestrator_from(system.client) as stub:
        assert await shares(system, stub, 200) == {"v1": 200, "v2": 0}


async def test_ninety_to_ten_is_what_two_thousand_asks_get(system):
    async with orchestrator_from(system.client) as stub, canary(system.mesh, 10):
        await until_drawn_to_v2(system, stub)
        got = await shares(system, stub, ASKS)
    assert got["v1"] + got["v2"] == ASKS
    assert abs(got["v2"] - ASKS * 0.1) <= 3 * (ASKS * 0.1 * 0.9) ** 0.5


async def test_an_ask_that_names_its_variant_gets_it(system):
    async with orchestrator_from(system.client) as stub:
        assert await shares(system, stub, 200, V2) == {"v1": 0, "v2": 200}
        async with canary(system.mesh, 100):
            await until_drawn_to_v2(system, stub)
            assert await shares(system, stub, 200, V1) == {"v1": 200, "v2": 0}


async def test_an_answer_s_passages_come_from_the_variant_that_was_drawn(system):
    async with orchestrator_from(system.client) as stub:
        before = {version: calls(replica) for version, replica in system.retrievers.items()}
        assert (await shares(system, stub, 20, V2))["v2"] == 20
        after = {version: calls(replica) for version, replica in system.retrievers.items()}
    assert after["v1"] == before["v1"]
    assert after["v2"] > before["v2"]


def calls(retriever):
    return served(retriever, "Retrieve") + served(retriever, "GetSnapshot")
