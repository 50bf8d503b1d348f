"""Orchestrators that share a real Redis: what replicas see of each other, and what an asker sees when it goes away."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh.rig.redis import running_redis
from chassis.errors import SettingsInvalid
from chassis.settings import load
from orchestrator.app import build
from orchestrator.settings import OrchestratorSettings
from tests.contract.orchestrator.servers import CountingGenerator, rig
from tests.rig_servers import rigged

SECRET = "shared by all replicas"
# An ask gives its cache 50 ms. A shared machine stalls longer at times; what is asserted is what settles.
ASKS = 50


@pytest.fixture
async def server(tmp_path):
    async with rigged(lambda: running_redis(tmp_path / "redis")) as server:
        yield server


@pytest.fixture
async def replicas(tmp_path, server):
    """Two orchestrators of one installation."""
    async with AsyncExitStack() as stack:
        found = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            served = rig(
                tmp_path / name,
                generator=CountingGenerator(limit=1),
                cache="redis",
                redis_url=server.url,
                redis_secret=SECRET,
            )
            found.append(await stack.enter_async_context(served))
        yield found


async def ask(served, question="How long does the lease last?"):
    return await served.stub.Ask(pb.AskRequest(collection="docs", question=question), timeout=10)


async def ask_until(served, wanted):
    """The first reply of which `wanted` is true."""
    for _ in range(ASKS):
        reply = await ask(served)
        if wanted(reply):
            return reply
    raise AssertionError(f"none of {ASKS} replies was it")


def is_hit(reply):
    return reply.started.cache.status == pb.CACHE_STATUS_HIT_EXACT


def lacks_cache(reply):
    return [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_CACHE_UNAVAILABLE]


async def test_what_one_replica_answered_the_other_has_in_its_cache(replicas):
    one, two = replicas
    first = await ask_until(one, is_hit)
    # An ask that could not reach the cache stores nothing, so this is the other's answer or none.
    hit = await ask_until(two, is_hit)
    assert hit.started.cache.origin_answer_id == first.started.cache.origin_answer_id
    assert hit.text == first.text
    assert hit.completed.cost.amount == 0


async def test_a_write_makes_the_other_replicas_entries_miss_at_once(replicas):
    one, two = replicas
    await ask_until(one, is_hit)
    two.retriever.generation += 1
    for _ in range(5):
        assert not is_hit(await ask(two))
        two.retriever.generation += 1


async def test_asks_are_answered_while_redis_is_dead_and_hit_again_when_it_is_back(replicas, server):
    one, _ = replicas
    await ask_until(one, is_hit)
    server.kill()
    replies = [await ask(one) for _ in range(20)]
    assert all("30 seconds" in reply.text for reply in replies)
    assert all(lacks_cache(reply) for reply in replies)
    await server.start()
    await ask_until_hit_after_the_breaker(one)


async def ask_until_hit_after_the_breaker(served):
    """The breaker looks again after a second; asks take some milliseconds each."""
    for _ in range(2_000):
        if is_hit(await ask(served)):
            return
    raise AssertionError("the cache was not used again")


async def test_an_orchestrator_starts_while_redis_is_down(tmp_path, server):
    server.kill()
    async with rig(tmp_path, cache="redis", redis_url=server.url, redis_secret=SECRET) as served:
        reply = await ask(served)
        assert "30 seconds" in reply.text
        assert lacks_cache(reply)


async def test_a_wrong_url_is_named_without_its_password(tmp_path):
    settings = load(
        OrchestratorSettings,
        listen=f"unix:{tmp_path}/o.sock",
        embedder="none",
        cache="redis",
        redis_secret=SECRET,
        redis_url="https://user:hunter2@store",
    )
    with pytest.raises(SettingsInvalid) as caught:
        async with build(settings):
            pytest.fail("it was taken")
    assert "REDIS_URL" in str(caught.value)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {settings!r}"


def test_the_originals_redis_variables_are_read(monkeypatch):
    monkeypatch.setenv("SPRING_REDIS_HOST", "rag-redis")
    monkeypatch.setenv("SPRING_REDIS_PORT", "6380")
    settings = load(OrchestratorSettings)
    assert (settings.redis_host, settings.redis_port) == ("rag-redis", 6380)
