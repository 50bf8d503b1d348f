"""Releases while people ask: 20 asks a second and 20 streams that are open all the time, by gRPC and by REST.

A canary is shifted, every service is restarted as a rolling update does it, a retriever is killed. Nobody notices.
"""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from askmesh.rig import envoy
from askmesh.rig.part import ROOT
from tests.bars import bar
from tests.faults.processes import IS_CAMPAIGN
from tests.mesh.stage import scaled, services, stage  # noqa: F401  # fixtures
from tests.mesh.traffic import STREAMS, counted, running_load

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = ROOT / "istio" / "canary"
STEPS = (10, 50, 100)
ASKS = 600 if IS_CAMPAIGN else 50  # that are looked at after each step
SIGMAS = 4  # a fair share is outside of it once in 16,000 steps
PUSHED_S = 60.0  # .1 s in quiet
RESTARTED = ("retriever", "orchestrator", "gateway") * (2 if IS_CAMPAIGN else 1)
KILLS = 6 if IS_CAMPAIGN else 1  # of pods
RESTARTS = 2 if IS_CAMPAIGN else 1  # of a process in its pod
EJECTED = "outbound.50052.*ejections_active"
EJECTED_S = 100.0  # 30 for the first time
ASKS_A_KILL = 200 if IS_CAMPAIGN else 50
# Words that open streams still say once their server was told to stop: a second, or most of what the drain allows.
WORDS_LEFT = 100 if IS_CAMPAIGN else 4


async def apply(mesh, percent):
    """A step of istio/canary."""
    await mesh.kubernetes.apply(scaled(await mesh.kubernetes.kubectl("kustomize", str(CANARY / str(percent)))))


async def until_drawn(drawers, percent):
    """Every sidecar that draws variants has this share."""
    async with asyncio.timeout(PUSHED_S):
        for drawer in drawers:
            while await shares_of(drawer) != {percent}:  # noqa: ASYNC110  # a push has no event to wait for
                await asyncio.sleep(0.05)


async def shares_of(drawer):
    """Of v2, in percent, by the sidecar's own routes: one, for each name of the service the same."""
    dump = json.loads(await envoy.admin(drawer.envoy, "/config_dump?resource=dynamic_route_configs"))
    hosts = [host for each in dump["configs"] for host in each["route_config"].get("virtual_hosts", ())]
    return {share_of(route["route"]) for host in hosts for route in host["routes"] if route.get("name") == "drawn"}


def share_of(drawn):
    if "cluster" in drawn:
        return 100 if "|v2|" in drawn["cluster"] else 0
    return sum(each["weight"] for each in drawn["weighted_clusters"]["clusters"] if "|v2|" in each["name"])


def variants(asks):
    """Which versions made each answer: one each, or it is mixed."""
    return [{model.removeprefix("paced-") for model in ask.models} | versions_of(ask.documents) for ask in asks]


def versions_of(documents):
    return {document.removesuffix(".md") for document in documents}


def assert_nothing_noticed(load, record_property, name):
    record_property(name, f"{counted(load.asks)}; {len(load.failed())} failed or cut")
    assert load.failed() == []
    assert [ask.losses for ask in load.asks if ask.losses] == []
    assert {len(each) for each in variants(ask for ask in load.asks if not ask.is_shed)} == {1}
    assert sum(ask.is_shed for ask in load.asks) <= bar(0, wide=len(load.asks) / 2)  # of a machine that does other work


async def test_a_canary_is_shifted_under_load(stage, record_property):  # noqa: F811
    async with running_load(stage.system.client) as load:
        for percent in STEPS:
            with stage.model.held():
                streams = await load.until_all_open()
                await apply(stage.system.mesh, percent)
                await until_drawn(stage.drawers(), percent)
                await load.until_said(streams, 2)
            assert [stream.failure for stream in streams] == [""] * STREAMS
            asks = await load.until_asked(ASKS)
            answered = [ask for ask in asks if not ask.is_shed]
            drawn = sum(variant == {"v2"} for variant in variants(answered))
            record_property(f"at {percent} %", f"{drawn} of {len(answered)} asks by v2")
            expected = len(answered) * percent / 100
            assert abs(drawn - expected) <= SIGMAS * (expected * (1 - percent / 100)) ** 0.5
        await apply(stage.system.mesh, 0)
    assert_nothing_noticed(load, record_property, "shift")


async def test_every_service_is_restarted_under_load(stage, record_property):  # noqa: F811
    async with running_load(stage.system.client) as load:
        for role in RESTARTED:
            old = stage.replicas[role, "v1"][0]
            with stage.model.held():
                streams = await load.until_all_open()
                await stage.start(role)
                stopping = asyncio.create_task(stage.stop(old))
                await until_told(old)
                told = time.monotonic()
                await load.until_said(streams, WORDS_LEFT)
                assert role == "retriever" or old.service.is_running  # for their sake; a retriever's calls are short
                record_property(f"{role} drains", f"{time.monotonic() - told:.1f} s with {len(streams)} streams open")
            await stopping
            assert "still open at the end of the drain" not in old.service.log.read_text()
        await load.until_asked(20)
    assert_nothing_noticed(load, record_property, "restarts")


async def until_told(replica):
    """Its process has got its SIGTERM: it takes no connections any more."""
    async with asyncio.timeout(PUSHED_S):
        while await is_listening(replica.service):  # noqa: ASYNC110  # another process's steps have no event
            await asyncio.sleep(0.05)


async def is_listening(server):
    try:
        _, writer = await asyncio.open_connection(server.host, server.port)
    except OSError:
        return False
    writer.close()
    return True


async def test_a_retriever_s_pod_is_killed_under_load(stage, record_property):  # noqa: F811
    """As when its node is gone: nobody answers at its address, which stays an endpoint for a while."""
    async with running_load(stage.system.client) as load:
        for _ in range(KILLS):
            await load.until_all_open()
            victim = stage.replicas["retriever", "v1"].pop(0)
            victim.service.kill()
            victim.member.envoy.kill()
            await load.until_asked(ASKS_A_KILL)
            await victim.close()
            await stage.start("retriever")
    assert_nothing_noticed(load, record_property, f"{KILLS} kills")


async def test_a_retriever_s_process_is_killed_under_load(stage, record_property):  # noqa: F811
    """As when its container is restarted in its pod: its sidecar still takes calls, and has nowhere to send them."""
    async with running_load(stage.system.client) as load:
        victims = stage.replicas["retriever", "v1"][:RESTARTS]
        for victim in victims:
            await load.until_all_open()
            await until_none_is_ejected(stage)
            victim.service.kill()
            await load.until_asked(ASKS_A_KILL)
            await victim.service.start()
    assert_nothing_noticed(load, record_property, f"{RESTARTS} kills")


async def until_none_is_ejected(stage):  # noqa: F811
    """A retriever that was killed is back in use: with two of them, one that is ejected is one that is gone."""
    async with asyncio.timeout(EJECTED_S):
        for orchestrator in stage.members("orchestrator"):
            while any((await envoy.stats(orchestrator.envoy, EJECTED)).values()):  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.5)
