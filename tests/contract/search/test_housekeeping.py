"""The janitor and its lease: what nobody can see goes, what somebody may see stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, DeadlineExceeded, SearchUnavailable
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.lease import TERM_S, LeaseKeeper
from retriever.ingest.ledger import opened
from retriever.ingest.purge import GRACE_S, ROUND_BUDGET_S, STALE_AFTER_S, Janitor
from retriever.ingest.snapshots import SnapshotReader
from retriever.types import version_of
from tests.contract.search.faults import Interposed, failing
from tests.contract.search.samples import (
    TENANT,
    FakeClock,
    budget,
    prepared,
    scope,
    texts_by_id,
    unit,
    vectors_of,
    written,
)

NAME = "handbook"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def janitor(leaves, stores, clock):
    return Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="this process", clock=clock)


async def put(writer, document_id, *texts):
    return await writer.put(TENANT, NAME, prepared(document_id, texts or ["word"]), budget=budget())


async def head_of(leaves):
    return (await SnapshotReader(leaves.heads, timebox_s=30).head(TENANT, NAME, budget=budget())).head


async def everything_stored(leaves, head):
    """What the stores hold, visible or not: read with a snapshot that hides nothing."""
    within = scope(replace(head.snapshot, excluded=(), dead=frozenset()))
    dense = texts_by_id(await leaves.dense.search(unit(1.0), within, 10_000, budget=budget()))
    lexical = texts_by_id(await leaves.lexical.search("word", within, 10_000, budget=budget()))
    assert dense == lexical
    return lexical


async def leave_open(leaves, owner="a dead process"):
    """A transaction that took a number, wrote and sealed a chunk, and died before its commit."""
    head, number = opened(await head_of(leaves), owner)
    head = await leaves.heads.swap(head, budget=budget())

    rows = [written("ghost", number, 7, ["word of a ghost"])]
    for store in (leaves.dense, leaves.lexical):
        await store.write(TENANT, head.snapshot.uid, rows, vectors_of(rows), budget=budget())
        await store.seal(TENANT, head.snapshot.uid, number, budget=budget())
    await leaves.records.put(TENANT, head.snapshot.uid, [(rows[0][0], "word of a ghost")], budget=budget())
    return number


async def test_replaced_versions_stay_for_as_long_as_a_read_may_last_and_then_go(leaves, committer, janitor, clock):
    await put(committer, "a", "word old")
    old = await head_of(leaves)
    await put(committer, "a", "word new")
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S - 0.1)
    await janitor.tidy(budget=budget())
    within = scope(old.snapshot)
    assert texts_by_id(await leaves.lexical.search("word", within, 10, budget=budget())) == {"a": {"word old"}}
    clock.advance(0.1)
    await janitor.tidy(budget=budget())
    head = await head_of(leaves)
    assert head.snapshot.dead == frozenset()
    assert await everything_stored(leaves, head) == {"a": {"word new"}}


async def test_purging_does_not_change_the_generation(leaves, committer, janitor, clock):
    await put(committer, "a")
    await committer.delete(TENANT, NAME, "a", budget=budget())
    before = await head_of(leaves)
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    await janitor.tidy(budget=budget())
    after = await head_of(leaves)
    assert (len(before.snapshot.dead), len(after.snapshot.dead)) == (1, 0)
    assert after.snapshot.generation == before.snapshot.generation


async def test_a_large_document_is_purged_in_bounded_steps_to_the_last_chunk(leaves, stores, committer, clock):
    watched: Any = Stores(stores.heads, stores.records, Interposed(stores.dense), Interposed(stores.lexical))
    janitor = Janitor(watched, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    await put(committer, "a", *(f"word {n}" for n in range(2_500)))
    await put(committer, "a", "word new")
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    await janitor.tidy(budget=budget())
    assert (watched.dense.calls, watched.lexical.calls) == (["purge"] * 3, ["purge"] * 3)
    assert await everything_stored(leaves, await head_of(leaves)) == {"a": {"word new"}}


async def test_a_purge_that_breaks_off_leaves_the_version_listed_as_dead(leaves, stores, committer, clock):
    ports: Any = Stores(stores.heads, stores.records, stores.dense, Interposed(stores.lexical))
    janitor = Janitor(ports, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    await put(committer, "a", "word old")
    await put(committer, "a", "word new")
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    ports.lexical.before["purge"] = [failing(CatalogueUnavailable("down"))]
    with pytest.raises(CatalogueUnavailable):
        await janitor.tidy(budget=budget())
    assert len((await head_of(leaves)).snapshot.dead) == 1
    await janitor.tidy(budget=budget())
    assert (await head_of(leaves)).snapshot.dead == frozenset()


async def test_a_collection_that_cannot_be_tidied_holds_up_no_other(leaves, stores, committer, clock):
    """Else one broken shard ends the purging of everybody's dead versions, and then their commits."""
    names = ("broken", "other")
    for name in names:
        for text in ("word old", "word new"):
            await committer.put(TENANT, name, prepared("a", [text]), budget=budget())
    broken = (await leaves.heads.get(TENANT, "broken", budget=budget())).snapshot.uid
    ports: Any = Stores(stores.heads, stores.records, stores.dense, Broken(stores.lexical, broken))
    janitor = Janitor(ports, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    for _ in range(2):
        with pytest.raises(SearchUnavailable):
            await janitor.tidy(budget=budget())
    heads = [await leaves.heads.get(TENANT, name, budget=budget()) for name in names]
    assert [len(head.snapshot.dead) for head in heads] == [1, 0]


async def test_a_round_that_runs_out_of_time_is_gone_on_with_where_it_stopped(leaves, stores, committer, clock):
    names = ("broken", "last", "other")
    for name in names:
        for text in ("word old", "word new"):
            await committer.put(TENANT, name, prepared("a", [text]), budget=budget())
    broken = (await leaves.heads.get(TENANT, "broken", budget=budget())).snapshot.uid
    patience = FakeClock()  # the budgets' own: what hangs uses all of one up
    hung = Broken(stores.lexical, broken, before=lambda: patience.advance(ROUND_BUDGET_S))
    ports: Any = Stores(stores.heads, stores.records, stores.dense, hung)
    janitor = Janitor(ports, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    for _ in range(2):
        with suppress(SearchUnavailable):
            await janitor.tidy(budget=Budget.of(ROUND_BUDGET_S, patience))
    heads = [await leaves.heads.get(TENANT, name, budget=budget()) for name in names]
    assert [len(head.snapshot.dead) for head in heads] == [1, 0, 0]


async def test_the_dead_go_before_what_was_aborted_is_swept(leaves, stores, committer, janitor, clock):
    """Commits wait for the dead to go; a janitor that just took the lease has a year's aborted ranges to sweep."""
    await put(committer, "a")
    await leave_open(leaves)
    await janitor.recover(budget=budget())
    for text in ("word old", "word new"):
        await committer.put(TENANT, "later", prepared("a", [text]), budget=budget())
    patience = FakeClock()
    slow = SlowRanges(stores.dense, lambda: patience.advance(ROUND_BUDGET_S))
    ports: Any = Stores(stores.heads, stores.records, slow, stores.lexical)
    janitor = Janitor(ports, survey=leaves.heads, leases=leaves.leases, owner="this process", clock=clock)
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    with suppress(DeadlineExceeded):
        await janitor.tidy(budget=Budget.of(ROUND_BUDGET_S, patience))
    head = await leaves.heads.get(TENANT, "later", budget=budget())
    assert (head.snapshot.dead, slow.ranges) == (frozenset(), 1)


async def test_a_round_that_lasts_shows_that_its_janitor_lives(leaves, stores, committer, clock):
    names = ("one", "three", "two")
    for name in names:
        for text in ("word old", "word new"):
            await committer.put(TENANT, name, prepared("a", [text]), budget=budget())
    slow: Any = Stores(stores.heads, stores.records, Interposed(stores.dense), stores.lexical)
    janitor = Janitor(slow, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    other = LeaseKeeper(leaves.leases, "janitor", owner="other", clock=clock)
    taken = []

    async def late():
        clock.advance(TERM_S * 2 / 3)
        taken.append(await other.hold(budget=budget()))

    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    slow.dense.before["purge"] = [late] * len(names)
    await janitor.tidy(budget=budget())
    assert taken == [False] * len(names)


class SlowRanges:
    """A chunk store that takes all the time there is to purge a range of versions."""

    def __init__(self, store: Any, before: Callable[[], None]) -> None:
        self._store = store
        self._before = before
        self.ranges = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def purge(self, tenant: str, uid: str, versions: Any, *, budget: Budget) -> int:
        if isinstance(versions, range):
            self.ranges += 1
            self._before()
        remaining: int = await self._store.purge(tenant, uid, versions, budget=budget)
        return remaining


class Broken:
    """A chunk store that fails for one collection."""

    def __init__(self, store: Any, uid: str, *, before: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._uid = uid
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def purge(self, tenant: str, uid: str, versions: Any, *, budget: Budget) -> int:
        if uid == self._uid:
            self._before()
            raise SearchUnavailable("this shard is broken")
        remaining: int = await self._store.purge(tenant, uid, versions, budget=budget)
        return remaining


async def test_commits_during_a_purge_are_kept(leaves, stores, committer, clock):
    ports: Any = Stores(Interposed(stores.heads), stores.records, stores.dense, stores.lexical)
    janitor = Janitor(ports, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    await put(committer, "a", "word old")
    await put(committer, "a", "word new")
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    ports.heads.before["swap"] = [lambda: put(committer, "b", "word b")]
    await janitor.tidy(budget=budget())
    head = await head_of(leaves)
    assert (head.snapshot.generation, head.snapshot.dead) == (3, frozenset())
    assert await everything_stored(leaves, head) == {"a": {"word new"}, "b": {"word b"}}


async def test_at_the_start_every_open_transaction_of_a_predecessor_is_aborted(leaves, committer, janitor):
    await put(committer, "a")
    number = await leave_open(leaves)
    mine, _ = opened(await head_of(leaves), "this process")
    await leaves.heads.swap(mine, budget=budget())
    await janitor.recover(budget=budget())
    head = await head_of(leaves)
    assert head.open_numbers == {number + 1: "this process"}
    assert not head.snapshot.sees(version_of(number, 7))


async def test_a_transaction_that_stands_open_too_long_is_aborted_by_the_watchers_clock(
    leaves, committer, janitor, clock
):
    await put(committer, "a")
    number = await leave_open(leaves)
    await janitor.tidy(budget=budget())
    clock.advance(STALE_AFTER_S - 1)
    await janitor.tidy(budget=budget())
    assert number in (await head_of(leaves)).open_numbers
    clock.advance(1)
    await janitor.tidy(budget=budget())
    assert (await head_of(leaves)).open_numbers == {}


async def test_what_an_aborted_transaction_wrote_is_swept_and_its_number_stays_excluded(
    leaves, committer, janitor, clock
):
    await put(committer, "a")
    number = await leave_open(leaves)
    await janitor.recover(budget=budget())
    assert "ghost" in await everything_stored(leaves, await head_of(leaves))
    await janitor.tidy(budget=budget())
    clock.advance(GRACE_S)
    await janitor.tidy(budget=budget())
    head = await head_of(leaves)
    assert await everything_stored(leaves, head) == {"a": {"word"}}
    assert head.snapshot.excluded == ((number, number),)


async def test_a_running_transaction_is_never_swept(leaves, stores, janitor, clock):
    async with Committer(stores, owner="me") as committer:
        await put(committer, "a")
        await leave_open(leaves, owner="alive")
        for _ in range(3):
            clock.advance(GRACE_S * 2)
            await janitor.tidy(budget=budget())
        assert "ghost" in await everything_stored(leaves, await head_of(leaves))


async def test_without_the_lease_a_janitor_touches_nothing(leaves, stores, committer, janitor, clock):
    other = Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="other", clock=clock)
    await put(committer, "a", "word old")
    await put(committer, "a", "word new")
    await other.tidy(budget=budget())
    for _ in range(5):
        clock.advance(GRACE_S)
        await other.tidy(budget=budget())
        await janitor.tidy(budget=budget())
    await put(committer, "a", "word newer")
    for _ in range(2):
        clock.advance(GRACE_S)
        await janitor.tidy(budget=budget())
    assert len((await head_of(leaves)).snapshot.dead) == 1


async def test_of_two_keepers_one_holds_the_lease_until_it_stops_renewing(leaves, clock):
    first = LeaseKeeper(leaves.leases, "janitor", owner="first", clock=clock)
    second = LeaseKeeper(leaves.leases, "janitor", owner="second", clock=clock)
    assert await first.hold(budget=budget())
    for _ in range(5):
        assert not await second.hold(budget=budget())
        clock.advance(TERM_S - 1)
        assert await first.hold(budget=budget())
    assert not await second.hold(budget=budget())
    clock.advance(TERM_S)
    assert await second.hold(budget=budget())
    assert not await first.hold(budget=budget())


async def test_expiry_is_judged_by_watching_not_by_when_the_lease_was_written(leaves, clock):
    await LeaseKeeper(leaves.leases, "janitor", owner="first", clock=clock).hold(budget=budget())
    clock.advance(TERM_S * 100)
    newcomer = LeaseKeeper(leaves.leases, "janitor", owner="newcomer", clock=clock)
    assert not await newcomer.hold(budget=budget())
    clock.advance(TERM_S)
    assert await newcomer.hold(budget=budget())


@pytest.mark.parametrize("error", [CatalogueUnavailable("down"), KeyError("a bug of ours")])
async def test_the_background_round_goes_on_after_a_failure(leaves, stores, committer, error):
    clock = FakeClock()
    ports: Any = Stores(stores.heads, stores.records, Interposed(stores.dense), stores.lexical)
    ports.dense.before["purge"] = [failing(error)]

    rounds = asyncio.Semaphore(0)

    async def sleep(_):
        clock.advance(GRACE_S)
        rounds.release()
        await asyncio.sleep(0)

    janitor = Janitor(ports, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock, sleep=sleep)
    await put(committer, "a", "word old")
    await put(committer, "a", "word new")
    async with janitor.running():
        for _ in range(4):
            await rounds.acquire()
    assert (await head_of(leaves)).snapshot.dead == frozenset()
