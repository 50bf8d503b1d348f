"""RedisMirrorStore does what its model does, whatever is asked in whatever order: the model's proof holds for it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from askmesh.rig.redis import running_redis
from chassis.mirror import Reading
from chassis.redis_mirror import PREFIX, RedisMirrorStore
from tests.rig_servers import rigged
from tests.unit.chassis.mirror_model import Model

NAME = "tenant/docs"
# Long lives, so that the time the test itself takes decides nothing: it moves the server's clock in tens of seconds.
TTL_S, MARK_S = 100.0, 500.0
TOKENS = st.sampled_from(["t1", "t2"])
MARKS = st.sampled_from(["m1", "m2"])
STEPS = st.one_of(
    st.tuples(st.just("read"), TOKENS),
    st.tuples(st.just("fill"), TOKENS, st.sampled_from([b"old", b"new", b"\x00\xff"])),
    st.tuples(st.just("begin"), MARKS),
    st.tuples(st.just("end"), MARKS),
    st.tuples(st.just("pass"), st.sampled_from([30.0, 80.0, 300.0])),
    st.tuples(st.just("flush")),
)


def test_the_scripts_and_the_model_agree_on_every_sequence(redis_server):
    with asyncio.Runner() as runner:
        client = Redis.from_url(redis_server.url)

        @settings(max_examples=300)
        @given(st.lists(STEPS, max_size=25))
        def agree(steps):
            runner.run(both(client, steps))

        try:
            agree()
        finally:
            runner.run(client.aclose())


async def both(client, steps):
    await client.flushall()
    store, model = RedisMirrorStore(client, ttl_s=TTL_S, mark_s=MARK_S), Model(ttl_s=TTL_S, mark_s=MARK_S)
    for kind, *arguments in steps:
        if kind == "pass":
            model.now += arguments[0]
            await pass_time(client, arguments[0])
        elif kind == "flush":
            model.flush()
            await client.flushall()
        else:
            assert await getattr(store, kind)(NAME, *arguments) == getattr(model, kind)(NAME, *arguments)


async def pass_time(client, seconds):
    """What the server's clock would do: every key's time to live is shorter by so much, or over."""
    for key in await client.keys(f"{PREFIX}*"):
        left_ms = await client.pttl(key)
        assert left_ms > 0, f"{key!r} would stay for ever"
        await client.pexpire(key, left_ms - round(seconds * 1_000))


FORGED = {
    "a string for ever": lambda client, key: client.set(key, b"forged"),
    "a list": lambda client, key: client.rpush(key, b"forged"),
    "a set for ever": lambda client, key: client.sadd(key, b"forged"),
    "a hash": lambda client, key: client.hset(key, b"forged", b"x"),
}


@pytest.mark.parametrize("part", ["value", "token", "marks"])
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_whatever_lies_under_a_key_the_next_step_is_as_if_nothing_did(redis_server, part, forge):
    client = Redis.from_url(redis_server.url)
    store = RedisMirrorStore(client, ttl_s=TTL_S, mark_s=MARK_S)
    key = f"{PREFIX}{part}:{NAME}"
    try:
        await client.flushall()
        await forge(client, key)
        assert await store.read(NAME, "t1") == Reading(None, is_filler=True)
        assert await store.fill(NAME, "t1", b"new")
        await client.delete(key)
        await forge(client, key)
        await store.begin(NAME, "m1")
        assert await store.read(NAME, "t2") == Reading(None)
        await store.end(NAME, "m1")
        await client.delete(key)
        await forge(client, key)
        await store.end(NAME, "m1")
        assert (await store.read(NAME, "t3")).is_filler
    finally:
        await client.aclose()


async def test_a_full_redis_keeps_readers_and_committers_right(tmp_path):
    """Every step deletes before it writes, which Redis allows when memory is out; and it writes some 200 bytes."""
    async with rigged(lambda: running_redis(tmp_path / "full")) as server:
        client = Redis.from_url(server.url)
        store = RedisMirrorStore(client)
        try:
            assert (await store.read(NAME, "t1")).is_filler
            assert await store.fill(NAME, "t1", b"old")
            await client.config_set("maxmemory", "1")
            assert await store.read(NAME, "t2") == Reading(b"old")
            await store.begin(NAME, "m1")
            assert await store.read(NAME, "t3") == Reading(None)
            await store.end(NAME, "m1")
            assert (await store.read(NAME, "t4")).is_filler
            assert await store.fill(NAME, "t4", b"new")
        finally:
            await client.aclose()
