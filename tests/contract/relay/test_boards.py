"""One suite for every FlightBoard, the tests' own one included."""

from __future__ import annotations

import time
import uuid

import pytest
from redis.asyncio import Redis

from askmesh.rig.redis import running_redis
from chassis.redis_client import open_redis
from orchestrator.board import BoardUnavailable, Chunk, Heard, Over
from orchestrator.relay.redis import PREFIX, RedisFlightBoard
from tests.rig_servers import rigged
from tests.unit.orchestrator.boards import MemoryFlightBoard

SECRET = b"shared by all replicas"


@pytest.fixture
async def redis(redis_server):
    client = open_redis(redis_server.url, timeout_s=5.0)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def board(request):
    if request.param == "memory":
        return MemoryFlightBoard(time.monotonic)
    return RedisFlightBoard(request.getfixturevalue("redis"), SECRET, claim_s=60.0)


@pytest.fixture
def flight():
    return uuid.uuid4().hex


async def test_the_first_claim_holds_and_the_next_hears_of_it(board, flight):
    assert await board.claim(flight, "a") == "a"
    assert await board.claim(flight, "b") == "a"
    assert await board.claim(f"{flight}2", "b") == "b"


async def test_what_is_told_is_heard_in_order_from_any_position(board, flight):
    await board.claim(flight, "a")
    for number, content in enumerate([b"one", b"\x00\xff", b"three"]):
        assert await board.beat(flight, "a", Chunk(number, content)) == 0.0
    assert await board.hear(flight, "a", 0, wanted_s=0) == Heard((b"one", b"\x00\xff", b"three"), is_held=True)
    assert await board.hear(flight, "a", 2, wanted_s=0) == Heard((b"three",), is_held=True)
    assert await board.hear(flight, "a", 3, wanted_s=0) == Heard((), is_held=True)


async def test_a_chunk_told_twice_is_heard_once(board, flight):
    await board.claim(flight, "a")
    for _ in range(2):
        assert await board.beat(flight, "a", Chunk(0, b"one")) == 0.0
    assert (await board.hear(flight, "a", 0, wanted_s=0)).chunks == (b"one",)


async def test_a_gap_loses_the_claim(board, flight):
    await board.claim(flight, "a")
    assert await board.beat(flight, "a", Chunk(3, b"four")) is None
    assert await board.beat(flight, "a", None) is None
    assert not (await board.hear(flight, "a", 0, wanted_s=0)).is_held


async def test_only_the_holder_tells(board, flight):
    await board.claim(flight, "a")
    assert await board.beat(flight, "b", Chunk(0, b"forged")) is None
    assert (await board.hear(flight, "a", 0, wanted_s=0)).chunks == ()


async def test_the_holder_learns_for_how_long_it_is_wanted(board, flight):
    await board.claim(flight, "a")
    assert await board.beat(flight, "a", None) == 0.0
    await board.hear(flight, "a", 0, wanted_s=20.0)
    await board.hear(flight, "a", 0, wanted_s=5.0)
    assert await board.beat(flight, "a", None) == pytest.approx(20.0, abs=0.01)


async def test_a_whole_answer_stands_for_latecomers(board, flight):
    await board.claim(flight, "a")
    await board.beat(flight, "a", Chunk(0, b"all"), over=Over.WHOLE)
    assert await board.claim(flight, "b") == "a"
    assert (await board.hear(flight, "a", 0, wanted_s=0)).chunks == (b"all",)


async def test_any_other_end_is_for_who_listens_already(board, flight):
    await board.claim(flight, "a")
    await board.beat(flight, "a", Chunk(0, b"some"), over=Over.ENDED)
    assert await board.claim(flight, "b") == "b"
    assert await board.hear(flight, "a", 0, wanted_s=0) == Heard((b"some",), is_held=False)


# Redis alone


async def test_a_claim_that_is_not_beaten_dies(redis, flight):
    board = RedisFlightBoard(redis, SECRET, claim_s=0.05)
    assert await board.claim(flight, "a") == "a"
    while await board.claim(flight, "b") != "b":
        pass
    assert await board.beat(flight, "a", None) is None


async def test_everything_expires(redis, flight):
    board = RedisFlightBoard(redis, SECRET)
    await board.claim(flight, "a")
    await board.beat(flight, "a", Chunk(0, b"one"))
    await board.hear(flight, "a", 0, wanted_s=600.0)
    keys = await redis.keys(f"{PREFIX}*")
    assert len(keys) == 3
    for key in keys:
        assert 0 < await redis.pttl(key) <= 10_000


@pytest.mark.parametrize("secret", [SECRET, b"of somebody else"])
async def test_chunks_that_are_not_the_holders_are_broken(redis, flight, secret):
    board, other = RedisFlightBoard(redis, SECRET), RedisFlightBoard(redis, secret)
    await board.claim(flight, "a")
    await board.beat(flight, "a", Chunk(0, b"one"))
    if secret == SECRET:  # one that is signed, for another place
        await redis.rpush(f"{PREFIX}log:{flight}:a", await redis.lindex(f"{PREFIX}log:{flight}:a", 0))
    else:
        await other.beat(flight, "a", Chunk(1, b"two"))
    assert await board.hear(flight, "a", 0, wanted_s=0) == Heard((b"one",), is_held=True, is_broken=True)


FORGED = {
    "string": lambda client, key: client.set(key, b"forged"),
    "list": lambda client, key: client.rpush(key, b"forged"),
    "set": lambda client, key: client.sadd(key, b"forged"),
    "hash": lambda client, key: client.hset(key, b"forged", b"x"),
}


@pytest.mark.parametrize("part", ["claim:{}", "log:{}:a", "want:{}:a"])
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_whatever_lies_under_a_key_no_step_fails(redis, flight, part, forge):
    board = RedisFlightBoard(redis, SECRET)
    await forge(redis, PREFIX + part.format(flight))
    assert await board.claim(flight, "a") == "a"
    told = await board.beat(flight, "a", Chunk(0, b"one"))
    heard = await board.hear(flight, "a", 0, wanted_s=1.0)
    assert told is None or heard.chunks == (b"one",) or heard.is_broken


async def test_a_redis_that_is_gone_is_board_unavailable(flight):
    client = Redis.from_url("redis://127.0.0.1:1")
    board = RedisFlightBoard(client, SECRET)
    with pytest.raises(BoardUnavailable):
        await board.claim(flight, "a")
    await client.aclose()


async def test_a_full_redis_is_a_board_that_fails_and_nothing_else(tmp_path):
    async with rigged(lambda: running_redis(tmp_path / "full")) as server:
        client = open_redis(server.url, timeout_s=5.0)
        board = RedisFlightBoard(client, SECRET)
        try:
            assert await board.claim("f", "a") == "a"
            await client.config_set("maxmemory", "1")
            with pytest.raises(BoardUnavailable):
                await board.beat("f", "a", Chunk(0, b"one"))
            assert (await board.hear("f", "a", 0, wanted_s=0.0)).chunks == ()
            await client.config_set("maxmemory", "0")
            assert await board.beat("f", "a", Chunk(0, b"one")) == 0.0
            assert (await board.hear("f", "a", 0, wanted_s=0.0)).chunks == (b"one",)
        finally:
            await client.aclose()
