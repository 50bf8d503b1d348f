"""RedisAnswerCache on a real Redis with vector search; no exceptions to the suite."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, fields

import pytest
from redis.asyncio import Redis

from askmesh.rig.redis import running_redis
from chassis.breaker import Breaker
from chassis.errors import CacheUnavailable
from chassis.redis_client import open_redis
from orchestrator.cache.guarded import GuardedCache
from orchestrator.cache.redis import JITTER, PREFIX, Counts, RedisAnswerCache
from orchestrator.cache.sealing import SCHEMA_VERSION, Record, SealBroken, Sealer, vector_bytes
from orchestrator.ports import AnswerCache
from orchestrator.types import (
    AnswerCompleted,
    CachedAnswer,
    CacheKey,
    Citation,
    Cost,
    Degradation,
    RetrievalCompleted,
    Snapshot,
    Source,
    Timings,
    Usage,
)
from tests.contract.cache.suite import KEY, AnswerCacheSuite, answer, bare, budget, unit
from tests.rig_servers import rigged

SECRET = b"a secret that all replicas share"
TTL_S = 600.0
# The suites share two cores with other suites: what must come back is waited for longer than in production.
PATIENT_S = 2.0


class Tally:
    """Counts what the cache reports."""

    def __init__(self) -> None:
        self.rejected = 0
        self.not_stored = 0

    def counts(self) -> Counts:
        return Counts(rejected=self._reject, not_stored=self._drop)

    def _reject(self) -> None:
        self.rejected += 1

    def _drop(self) -> None:
        self.not_stored += 1


@dataclass
class Subject:
    cache: AnswerCache
    client: Redis
    ttl_s: float = TTL_S

    async def pass_time(self, seconds):
        """What the server's clock would do: every key's time to live is shorter by so much, or over."""
        async for key in self.client.scan_iter(match=f"{PREFIX}*"):
            left_ms = await self.client.pttl(key)
            assert left_ms > 0, f"{key!r} would stay for ever"
            await self.client.pexpire(key, left_ms - round(seconds * 1_000))


def over(client, *, tally=None, secret=SECRET, **options):
    options = {"max_entries": 1_000, "ttl_s": TTL_S, **options}
    return RedisAnswerCache(client, secret, counts=tally.counts() if tally else None, **options)


@pytest.fixture
async def client(redis_server):
    client = open_redis(redis_server.url, timeout_s=PATIENT_S)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def tally():
    return Tally()


class TestRedis(AnswerCacheSuite):
    @pytest.fixture
    async def subject(self, client, tally):
        yield Subject(over(client, tally=tally), client)
        assert (tally.rejected, tally.not_stored) == (0, 0)


class TestGuardedRedis(AnswerCacheSuite):
    @pytest.fixture
    def subject(self, client):
        return Subject(GuardedCache(over(client), Breaker("cache", error=CacheUnavailable)), client)


class TestTwoReplicas(AnswerCacheSuite):
    """What one replica writes the other reads, in both tiers, and evicts."""

    @pytest.fixture
    async def subject(self, client, redis_server):
        other = open_redis(redis_server.url, timeout_s=PATIENT_S)
        yield Subject(Alternating(over(client), over(other)), client)
        await other.aclose()


class Alternating:
    """Writes through one cache, reads through another."""

    def __init__(self, writer, reader) -> None:
        self.put = writer.put
        self.get = reader.get
        self.similar = reader.similar
        self.evict = reader.evict


def key(number):
    return CacheKey(KEY.partition, f"q{number}")


async def fill(cache, count):
    for number in range(count):
        await cache.put(key(number), answer(f"a-{number}", vector=unit(number)), budget=budget())


async def kept(cache, count):
    return [number for number in range(count) if await cache.get(key(number), budget=budget()) is not None]


async def test_the_least_recently_used_entry_goes_first_whoever_writes(client):
    one, other = over(client, max_entries=3), over(client, max_entries=3)
    await fill(one, 3)
    await one.get(key(0), budget=budget())
    await other.put(key(3), answer("a-3", vector=unit(3)), budget=budget())
    assert await kept(one, 4) == [0, 2, 3]
    near = await one.similar(KEY, unit(1), 10, budget=budget())
    assert {candidate.answer.answer_id for candidate in near} == {"a-0", "a-2", "a-3"}
    assert not await one.evict("acme", "docs", "a-1", budget=budget())


async def test_nothing_is_left_of_what_went_or_was_evicted(client):
    cache = over(client, max_entries=5)
    await fill(cache, 20)
    for number in range(15, 20):
        assert await cache.evict("acme", "docs", f"a-{number}", budget=budget())
    assert [each async for each in client.scan_iter(match=f"{PREFIX}*")] == []


async def test_every_key_ends_within_the_jitter_of_its_time(client):
    for drawn in (0.0, 0.5, 1.0):
        await over(client, draw=lambda drawn=drawn: drawn).put(KEY, answer(vector=unit(1)), budget=budget())
        lives = [await client.pttl(each) async for each in client.scan_iter(match=f"{PREFIX}entry:*")]
        assert lives == pytest.approx([TTL_S * 1_000 * (1 - JITTER * drawn)], abs=5_000)


async def test_a_reader_of_another_secret_sees_nothing_and_counts_it(client, tally):
    await over(client).put(KEY, answer(vector=unit(1)), budget=budget())
    stranger = over(client, secret=b"another", tally=tally)
    assert await stranger.get(KEY, budget=budget()) is None
    assert await stranger.similar(KEY, unit(1), 5, budget=budget()) == []
    assert tally.rejected == 2


async def only_entry(client):
    [found] = [each async for each in client.scan_iter(match=f"{PREFIX}entry:*")]
    return found


async def test_an_answer_with_one_flipped_bit_is_a_miss(client, tally):
    cache = over(client, tally=tally)
    await cache.put(KEY, answer(vector=unit(1)), budget=budget())
    found = await only_entry(client)
    sealed = bytearray(await client.hget(found, "sealed"))
    for position in (0, 31, 32, len(sealed) // 2, len(sealed) - 1):
        forged = bytearray(sealed)
        forged[position] ^= 1
        await client.hset(found, "sealed", bytes(forged))
        assert await cache.get(KEY, budget=budget()) is None
    assert tally.rejected == 5
    await client.hset(found, "sealed", bytes(sealed))
    assert await cache.get(KEY, budget=budget()) is not None


@pytest.mark.parametrize("target", [CacheKey("o" * 64, KEY.question), CacheKey(KEY.partition, "z" * 64)])
async def test_an_answer_moved_to_another_tenants_partition_or_question_is_a_miss(client, tally, target):
    cache = over(client, tally=tally)
    await cache.put(KEY, answer("mine", vector=unit(1)), budget=budget())
    mine = await client.hgetall(await only_entry(client))
    assert await cache.evict("acme", "docs", "mine", budget=budget())
    await cache.put(target, answer("theirs", vector=unit(2)), budget=budget())
    theirs = await only_entry(client)
    await client.hset(theirs, mapping={b"sealed": mine[b"sealed"]})
    assert await cache.get(target, budget=budget()) is None
    assert await cache.similar(target, unit(2), 5, budget=budget()) == []
    assert tally.rejected == 2


async def test_an_answer_whose_vector_was_exchanged_is_no_neighbour(client, tally):
    cache = over(client, tally=tally)
    await cache.put(KEY, answer(vector=unit(1)), budget=budget())
    await client.hset(await only_entry(client), "vector384", vector_bytes(unit(2)))
    assert await cache.similar(KEY, unit(2), 5, budget=budget()) == []
    assert tally.rejected == 1


@pytest.mark.parametrize("junk", [b"", b"\x00\xff" * 40, b"{}", b"\xde\xad\xbe\xef"])
async def test_random_bytes_under_every_key_of_ours_are_misses_until_the_next_put(client, tally, junk):
    cache = over(client, tally=tally)
    await cache.put(KEY, answer(vector=unit(1)), budget=budget())
    for each in [each async for each in client.scan_iter(match=f"{PREFIX}*")]:
        await client.set(each, junk)
    assert await cache.get(KEY, budget=budget()) is None
    assert await cache.similar(KEY, unit(1), 5, budget=budget()) == []
    assert not await cache.evict("acme", "docs", "a-1", budget=budget())
    assert tally.rejected == 1
    await cache.put(KEY, answer(vector=unit(1)), budget=budget())
    assert await cache.get(KEY, budget=budget()) is not None
    assert len(await cache.similar(KEY, unit(1), 5, budget=budget())) == 1


async def test_an_answer_whose_name_redis_let_go_of_is_evicted_all_the_same(client):
    cache = over(client)
    await fill(cache, 3)
    await client.delete(*[each async for each in client.scan_iter(match=f"{PREFIX}name:*")])
    assert await cache.evict("acme", "docs", "a-1", budget=budget())
    assert await kept(cache, 3) == [0, 2]
    assert not await cache.evict("acme", "docs", "a-1", budget=budget())


async def test_a_transport_that_is_closed_under_the_driver_is_a_cache_that_is_away(client, monkeypatch):
    async def broken(_connection):
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(client.connection_pool, "ensure_connection", broken)
    with pytest.raises(CacheUnavailable):
        await over(client).get(KEY, budget=budget())


async def test_a_name_that_was_forged_evicts_nothing(client):
    cache = over(client)
    await cache.put(KEY, answer("a-1"), budget=budget())
    await cache.put(key(2), answer("a-2"), budget=budget())
    names = [each async for each in client.scan_iter(match=f"{PREFIX}name:*")]
    first, second = [await client.get(each) for each in names]
    await client.set(names[0], second)
    await client.set(names[1], first)
    assert not await cache.evict("acme", "docs", "a-1", budget=budget())
    assert await cache.get(KEY, budget=budget()) is not None


async def test_an_answer_too_large_is_not_stored_and_counted(client, tally):
    cache = over(client, tally=tally)
    await cache.put(KEY, answer(text="x" * 600_000), budget=budget())
    assert await cache.get(KEY, budget=budget()) is None
    assert tally.not_stored == 1


async def test_flushing_loses_the_entries_and_nothing_else(client, tally):
    cache = over(client, tally=tally)
    await cache.put(KEY, answer(vector=unit(1)), budget=budget())
    await client.flushall()
    assert await cache.get(KEY, budget=budget()) is None
    assert await cache.similar(KEY, unit(1), 5, budget=budget()) == []
    await cache.put(KEY, answer(vector=unit(1)), budget=budget())
    assert len(await cache.similar(KEY, unit(1), 5, budget=budget())) == 1
    assert tally.rejected == 0


async def test_without_the_search_module_there_is_an_exact_tier_and_one_line_says_so(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    async with rigged(lambda: running_redis(tmp_path, has_search=False)) as server:
        client = open_redis(server.url, timeout_s=PATIENT_S)
        cache = over(client)
        await fill(cache, 3)
        for _ in range(3):
            assert await cache.similar(KEY, unit(1), 5, budget=budget()) == []
        assert bare(await cache.get(key(1), budget=budget())) == bare(answer("a-1"))
        await client.aclose()
    assert [record.message for record in caplog.records] == [
        "Redis has no vector search: the answer cache has its exact tier only"
    ]


async def test_vectors_of_two_lengths_do_not_disturb_each_other(client):
    cache = over(client)
    await cache.put(KEY, answer("long", vector=unit(1)), budget=budget())
    await cache.put(key(2), answer("short", vector=[1.0, 0.0]), budget=budget())
    [near] = await cache.similar(KEY, [1.0, 0.0], 5, budget=budget())
    assert near.answer.answer_id == "short"
    [near] = await cache.similar(KEY, unit(1), 5, budget=budget())
    assert near.answer.answer_id == "long"


# What is stored


STORED = (
    Record, CachedAnswer, Snapshot, RetrievalCompleted, Source, Degradation, Citation,
    AnswerCompleted, Usage, Timings, Cost,
)  # fmt: skip


def test_an_entry_of_another_shape_has_another_schema_version():
    """When this fails, what is stored has changed: raise SCHEMA_VERSION and put the new hash here."""
    shape = [(kind.__name__, [(field.name, field.type) for field in fields(kind)]) for kind in STORED]
    assert (SCHEMA_VERSION, hashlib.sha256(repr(shape).encode()).hexdigest()[:16]) == (2, "729fb1c56d870b10")


def test_a_sealed_answer_opens_as_it_was():
    sealer = Sealer(SECRET)
    opened = sealer.open(KEY.partition, sealer.seal(KEY, answer(vector=unit(1))))
    assert opened.answer == bare(answer())
    assert opened.question == KEY.question


def test_two_replicas_of_other_secrets_do_not_open_each_others_entries():
    sealed = Sealer(b"one").seal(KEY, answer())
    with pytest.raises(SealBroken):
        Sealer(b"two").open(KEY.partition, sealed)
