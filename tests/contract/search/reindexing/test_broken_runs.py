"""Reindexes that break off, are stopped, given up, cancelled, or meet others: nothing of them is seen or left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chassis.errors import CollectionNotFound, Conflict, SearchUnavailable
from retriever.ingest.commit import Committer
from retriever.ingest.lease import TERM_S, LeaseKeeper
from retriever.types import BUILD_SUFFIX
from retriever.upkeep.aftermath import ABANDONED_S, HOLD_LIMIT_S, SWEEP_INTERVAL_S
from retriever.upkeep.reindexing import Reindexer
from retriever.upkeep.sweep import unnamed
from tests.contract.search.faults import Interposed, failing
from tests.contract.search.reindexing.runs import (
    KEEP,
    NAME,
    WHOLE,
    head_of,
    is_sound,
    put,
    rebuilt,
    reindexer_over,
    rolled_back,
    seen,
)
from tests.contract.search.samples import TENANT, budget
from tests.contract.search.upkeeping import FIRST, SECOND, WALL, document, last_of, recipe, upkeep_stores


async def _pass():
    pass


class AtTheSwap:
    """Heads that stop a run where it is about to put its build in place, the first time."""

    def __init__(self, heads):
        self._heads = heads
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._heads, name)

    async def swap(self, head, *, budget):
        if head.retired is not None and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
        return await self._heads.swap(head, budget=budget)


async def test_a_rollback_that_is_given_up_never_gives_a_number_twice(leaves, reindexer, committer, filled):
    await rebuilt(reindexer)
    await put(committer, "d", "A new word.", fingerprint=SECOND)
    halfway: Any = Interposed(leaves.heads)
    broken = reindexer_over(leaves, heads=halfway, lexical=(lexical := Interposed(leaves.lexical)))
    lexical.after["seal"] = [failing(SearchUnavailable("down"))]
    with pytest.raises(SearchUnavailable):
        await rolled_back(broken)
    used = (await head_of(leaves, NAME + BUILD_SUFFIX)).snapshot.high
    assert await reindexer.cancel(TENANT, NAME, budget=budget())
    assert (await head_of(leaves)).retired.snapshot.high == used
    await put(committer, "d", "A newer word.", fingerprint=SECOND)
    await rolled_back(reindexer)
    assert await seen(leaves) == {**WHOLE, "d": {"A newer word."}}
    assert await is_sound(leaves)


async def test_a_second_run_is_refused_while_the_first_is_alive(leaves, reindexer, filled):
    async with asyncio.timeout(60):
        events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
        await anext(events)

        async def sleep(_):
            holder = LeaseKeeper(leaves.leases, f"reindex {TENANT} {NAME}", owner="")
            lease = await leaves.leases.get(f"reindex {TENANT} {NAME}", budget=budget())
            await holder._swap(replace(lease, beats=lease.beats + 1), budget())

        stores = upkeep_stores(leaves)
        second = Reindexer(stores, recipe, owner="another", now=lambda: WALL, sleep=sleep)
        with pytest.raises(Conflict):
            await rebuilt(second)
        await events.aclose()
    await rebuilt(reindexer)
    assert await seen(leaves) == WHOLE


@pytest.mark.parametrize("port", ["heads", "records", "lexical"])
@pytest.mark.parametrize("call", [1, 3, 6])
async def test_a_run_that_breaks_anywhere_is_gone_on_with(leaves, filled, clock, port, call):
    """The break comes after the n-th call that changes something; another process, later, finishes the work."""
    method = {"heads": "swap", "records": "put", "lexical": "write"}[port]
    ports: Any = Interposed(getattr(leaves, port))
    ports.after[method] = [*[_pass] * (call - 1), failing(SearchUnavailable("killed"))]
    broken = reindexer_over(leaves, owner="broken", **{port: ports})
    try:
        await rebuilt(broken)
    except SearchUnavailable:
        assert await seen(leaves) == WHOLE
    await rebuilt(reindexer_over(leaves, owner="next"))
    assert await seen(leaves) == WHOLE
    assert (await head_of(leaves)).embedder_fingerprint == SECOND
    assert await is_sound(leaves)


async def test_a_run_that_was_stopped_and_goes_on_later_changes_nothing(leaves, committer, filled):
    """It held a page of old documents in its hands while another run took over and a document was replaced."""
    held: Any = Interposed(leaves.records)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stop():
        reached.set()
        await go_on.wait()

    held.before["put"] = [stop]
    stopped = reindexer_over(leaves, owner="stopped", records=held)
    task = asyncio.create_task(rebuilt(stopped))
    async with asyncio.timeout(60):
        await reached.wait()
        build = await head_of(leaves, NAME + BUILD_SUFFIX)
        lease = await leaves.leases.get(f"reindex {TENANT} {NAME}", budget=budget())
        await leaves.leases.swap(replace(lease, owner=""), budget=budget())  # its term is over
        await put(committer, "b", "Another word, changed.")
        await rebuilt(reindexer_over(leaves, owner="next"))
        go_on.set()
        with pytest.raises(Conflict):
            await task
    assert (await head_of(leaves)).snapshot.uid == build.snapshot.uid
    assert await seen(leaves) == {**WHOLE, "b": {"Another word, changed."}}
    assert await is_sound(leaves)


async def test_a_run_that_wakes_up_while_another_is_at_work_writes_nothing_into_its_build(leaves, committer, filled):
    held: Any = Interposed(leaves.records)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stop():
        reached.set()
        await go_on.wait()

    held.before["put"] = [stop]
    task = asyncio.create_task(rebuilt(reindexer_over(leaves, owner="stopped", records=held)))
    async with asyncio.timeout(100):
        await reached.wait()
        lease = await leaves.leases.get(f"reindex {TENANT} {NAME}", budget=budget())
        await leaves.leases.swap(replace(lease, owner=""), budget=budget())  # its term is over
        await put(committer, "b", "Another word, changed.")
        next_run = reindexer_over(leaves, owner="next").reindex(
            TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300)
        )
        while (await anext(next_run)).stage != "flip":
            pass
        go_on.set()
        with pytest.raises(Conflict):
            await task
        await last_of(next_run)
    assert await seen(leaves) == {**WHOLE, "b": {"Another word, changed."}}
    assert await is_sound(leaves)


async def test_a_run_whose_hold_was_ended_brings_over_what_was_written_since(leaves, committer, janitor, clock, filled):
    heads = AtTheSwap(leaves.heads)
    task = asyncio.create_task(rebuilt(reindexer_over(leaves, heads=heads), FIRST))
    async with asyncio.timeout(100):
        await heads.reached.wait()
        await janitor.tidy(budget=budget())
        clock.advance(HOLD_LIMIT_S)
        await janitor.tidy(budget=budget())
        await put(committer, "d", "A word.")
        heads.go_on.set()
        await task
    assert await seen(leaves) == {**WHOLE, "d": {"A word."}}
    assert await is_sound(leaves)


async def test_a_commit_waits_at_a_hold_until_the_janitor_ends_one_of_a_dead_run(
    leaves, stores, janitor, clock, filled
):
    await leaves.heads.swap(replace(filled, held_by="a dead run"), budget=budget())
    await janitor.tidy(budget=budget())
    heads: Any = Interposed(stores.heads)
    lexical: Any = Interposed(stores.lexical)
    sealed = asyncio.Event()

    async def note():
        sealed.set()

    lexical.after["seal"] = [note]
    async with Committer(replace(stores, heads=heads, lexical=lexical), owner="writer") as committer:
        writing = asyncio.create_task(put(committer, "d", "A word."))
        async with asyncio.timeout(60):
            await sealed.wait()
            looks = len(heads.calls)
            while len(heads.calls) < looks + 6:  # it looks again and again whether the hold is over
                assert not writing.done()
                await asyncio.sleep(0.01)
        assert "d" not in await seen(leaves)
        clock.advance(HOLD_LIMIT_S)
        await janitor.tidy(budget=budget())
        assert (await writing).outcome.value == "STORED"
    assert "d" in await seen(leaves)


async def test_a_build_that_nobody_touches_is_removed_with_what_it_holds(leaves, reindexer, janitor, clock, filled):
    ports: Any = Interposed(leaves.lexical)
    ports.after["seal"] = [failing(SearchUnavailable("killed"))]
    with pytest.raises(SearchUnavailable):
        await rebuilt(reindexer_over(leaves, lexical=ports))
    await janitor.tidy(budget=budget())
    clock.advance(ABANDONED_S)
    for _ in range(3):
        await janitor.tidy(budget=budget())
        clock.advance(max(SWEEP_INTERVAL_S, TERM_S / 2))
    assert await head_of(leaves, NAME + BUILD_SUFFIX) is None
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await seen(leaves) == WHOLE


async def test_a_collection_that_is_dropped_during_its_reindex_leaves_nothing(
    leaves, stores, reindexer, janitor, clock, committer, filled
):
    await committer.put(TENANT, "other", await document("a", "A word."), budget=budget())
    events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
    await anext(events)
    await committer.drop_collection(TENANT, NAME, budget=budget())
    with pytest.raises((CollectionNotFound, Conflict)):
        await last_of(events)
    for _ in range(3):
        await janitor.tidy(budget=budget())
        clock.advance(SWEEP_INTERVAL_S)
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert [head.name for head in await leaves.heads.every(after=("", ""), limit=9, budget=budget())] == ["other"]


async def test_an_unfinished_reindex_can_be_cancelled(leaves, reindexer, filled):
    events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
    await anext(events)
    await events.aclose()
    assert await reindexer.cancel(TENANT, NAME, budget=budget())
    assert not await reindexer.cancel(TENANT, NAME, budget=budget())
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await seen(leaves) == WHOLE
