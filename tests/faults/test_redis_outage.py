"""Redis killed, stopped and restarted under 20 asks a second: nobody's ask fails, and hits come back.

Beside it runs an orchestrator without a cache: what an ask costs with a dead cache is compared with what it costs with
none, ask by ask, so that a stall of a shared machine strikes both.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh.rig.redis import running_redis
from tests.contract.orchestrator.servers import CountingGenerator, rig
from tests.faults.processes import IS_CAMPAIGN
from tests.rig_servers import rigged

PER_SECOND = 20
ASKED_S = 20.0 if IS_CAMPAIGN else 3.0
# The promise is +5 ms at p95 and hits within 1 s; a campaign holds to it, on a machine that does nothing else. Beside
# other tests both sides stretch, so there the bound is in proportion, and waits are for what settles.
STRETCH, COSTS_MS, COSTS_P95_MS = (1.0, 5.0, 5.0) if IS_CAMPAIGN else (2.0, 5.0, 25.0)
BACK_S = 1.0 if IS_CAMPAIGN else 5.0
RETURNS = 10 if IS_CAMPAIGN else 1
# Beside other tests a retriever stalls for more than its timebox as well, and what is tested is Redis.
PATIENCE = {} if IS_CAMPAIGN else {"retrieve_timeout_ms": 5_000}


@pytest.fixture
async def server(tmp_path):
    async with rigged(lambda: running_redis(tmp_path / "server")) as server:
        yield server


@pytest.fixture
async def orchestrators(tmp_path, server):
    """One with Redis, one without a cache."""
    settings = {
        "redis": {"cache": "redis", "redis_url": server.url, "redis_secret": "shared by all replicas"},
        "none": {"cache": "off"},
    }
    async with AsyncExitStack() as stack:
        found = {}
        for name, given in settings.items():
            (tmp_path / name).mkdir()
            served = rig(tmp_path / name, generator=CountingGenerator(limit=1), **given, **PATIENCE)
            found[name] = await stack.enter_async_context(served)
        yield found


async def ask(served, question="How long does the lease last?"):
    """How many milliseconds it took, and the reply; a status that is not OK is raised."""
    began = time.perf_counter()
    reply = await served.stub.Ask(pb.AskRequest(collection="docs", question=question), timeout=10)
    assert "30 seconds" in reply.text
    return (time.perf_counter() - began) * 1_000, reply


async def at_a_steady_rate(make, seconds):
    """Open loop: each call begins when its time has come, whatever became of those before it."""
    async with asyncio.TaskGroup() as group:
        calls = []
        for _ in range(round(seconds * PER_SECOND)):
            calls.append(group.create_task(make()))
            await asyncio.sleep(1 / PER_SECOND)
    return [call.result() for call in calls]


def lacks_cache(reply):
    return pb.DEGRADED_REASON_CACHE_UNAVAILABLE in [lost.reason for lost in reply.completed.degraded]


def is_hit(reply):
    return reply.started.cache.status == pb.CACHE_STATUS_HIT_EXACT


def p95(values):
    return statistics.quantiles(values, n=20)[-1]


async def test_a_killed_redis_fails_nobody_and_costs_little(orchestrators, server, record_property):
    async def pair():
        return await ask(orchestrators["redis"]), await ask(orchestrators["none"])

    await at_a_steady_rate(pair, 1.0)
    server.kill()
    await at_a_steady_rate(pair, 1.0)  # the breaker opens
    pairs = await at_a_steady_rate(pair, ASKED_S)
    assert all(lacks_cache(reply) for (_, reply), _ in pairs)
    with_dead, without = [[pair[side][0] for pair in pairs] for side in (0, 1)]
    record_property("p95 with a dead cache and with none, ms", f"{p95(with_dead):.1f} {p95(without):.1f}")
    assert statistics.median(with_dead) <= STRETCH * statistics.median(without) + COSTS_MS
    assert p95(with_dead) <= STRETCH * p95(without) + COSTS_P95_MS


async def test_a_stopped_redis_fails_nobody(orchestrators, server):
    await at_a_steady_rate(lambda: ask(orchestrators["redis"]), 1.0)
    server.pause()
    replies = await at_a_steady_rate(lambda: ask(orchestrators["redis"]), ASKED_S)
    server.resume()
    assert sum(lacks_cache(reply) for _, reply in replies) >= len(replies) - 1  # one may have been under way


async def test_hits_are_back_soon_after_redis_is(orchestrators, server, record_property):
    served, back_s = orchestrators["redis"], []
    for _ in range(RETURNS):
        server.kill()
        await at_a_steady_rate(lambda: ask(served), 1.0)
        await server.start()
        began = time.perf_counter()
        while not any(is_hit(reply) for _, reply in await at_a_steady_rate(lambda: ask(served), 1 / PER_SECOND)):
            pass
        back_s.append(time.perf_counter() - began)
    record_property("hits are back after, s", " ".join(f"{each:.2f}" for each in back_s))
    assert max(back_s) <= BACK_S


async def test_a_redis_that_hangs_costs_no_ask_anything_once_the_breaker_is_open(
    orchestrators, server, record_property
):
    """Whether it is back is looked for beside the asks: its 50 ms are nobody's."""

    async def pair():
        return await ask(orchestrators["redis"]), await ask(orchestrators["none"])

    await at_a_steady_rate(pair, 1.0)
    server.pause()
    await at_a_steady_rate(pair, 1.0)
    pairs = await at_a_steady_rate(pair, ASKED_S)
    server.resume()
    with_hung, without = [[pair[side][0] for pair in pairs] for side in (0, 1)]
    record_property("p95 with a hung cache and with none, ms", f"{p95(with_hung):.1f} {p95(without):.1f}")
    # An ask that looked would pay 50 ms, and with four looks a second every fifth ask would be one.
    assert sum(hung - none > 40.0 for hung, none in zip(with_hung, without, strict=True)) <= len(pairs) / 10
    if IS_CAMPAIGN:
        assert p95(with_hung) <= STRETCH * p95(without) + COSTS_P95_MS
