"""Writes that wait: for room among the dead, for their turn, for a deadline, for the end of a closing writer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chassis.budget import Budget
from chassis.errors import Conflict, DeadlineExceeded, ShuttingDown
from retriever.ingest.commit import Committer
from retriever.ingest.ledger import purged
from retriever.types import DEAD_LIMIT, Outcome
from tests.contract.search.faults import Held, failing
from tests.contract.search.samples import TENANT, FakeClock, budget, prepared
from tests.contract.search.writing import NAME, head_of, put, seen


async def _fill_dead(leaves):
    """Make the head list as many dead versions as it may (they never existed: purging them is quick)."""
    head = await head_of(leaves)
    full = frozenset(range(10**9, 10**9 + DEAD_LIMIT))
    return await leaves.heads.swap(replace(head, snapshot=replace(head.snapshot, dead=full)), budget=budget())


async def test_a_commit_waits_while_dead_is_full_and_goes_on_when_there_is_room(leaves, stores):
    clock = FakeClock()
    async with Committer(stores, owner="me", clock=clock, sleep=clock.sleep) as writer:
        await put(writer, "a", "word old")
        full = await _fill_dead(leaves)
        naps = []

        async def make_room():
            now = await leaves.heads.get(TENANT, NAME, budget=budget())
            await leaves.heads.swap(purged(now, full.snapshot.dead), budget=budget())

        async def sleep(seconds):
            naps.append(seconds)
            if len(naps) == 3:
                await make_room()

    async with Committer(stores, owner="me", clock=clock, sleep=sleep) as writer:
        waiting = Budget.of(30, clock)
        await writer.put(TENANT, NAME, prepared("a", ["word new"]), budget=waiting)
    assert len(naps) == 3
    assert await seen(leaves) == {"a": {"word new"}}


async def test_a_new_document_replaces_nothing_and_does_not_wait(leaves, committer):
    await put(committer, "a")
    await _fill_dead(leaves)
    await put(committer, "b")
    assert set(await seen(leaves)) == {"a", "b"}


async def test_waiting_for_room_ends_with_the_budget(leaves, stores):
    clock = FakeClock()
    async with Committer(stores, owner="me", clock=clock, sleep=clock.sleep) as writer:
        await writer.put(TENANT, NAME, prepared("a", ["word old"]), budget=Budget.of(30, clock))
        await _fill_dead(leaves)
        with pytest.raises(DeadlineExceeded):
            await writer.put(TENANT, NAME, prepared("a", ["word new"]), budget=Budget.of(5, clock))
    assert await seen(leaves) == {"a": {"word old"}}
    assert (await head_of(leaves)).open_numbers == {}


async def test_a_waiter_that_leaves_before_its_turn_is_not_written(leaves, ports, writer):
    gate = Held()
    ports.lexical.before["write"] = [gate]
    first = asyncio.create_task(put(writer, "first"))
    await gate.reached.wait()
    leaver, stayer = asyncio.create_task(put(writer, "leaver")), asyncio.create_task(put(writer, "stayer"))
    await asyncio.sleep(0)
    leaver.cancel()
    gate.let_go.set()
    await asyncio.gather(first, stayer)
    assert leaver.cancelled()
    assert set(await seen(leaves)) == {"first", "stayer"}


async def test_a_waiter_that_leaves_in_the_middle_does_not_harm_its_company(leaves, ports, writer):
    gate = Held()
    ports.lexical.before["write"] = [gate]
    together = [asyncio.create_task(put(writer, name)) for name in ("leaver", "stayer")]
    await gate.reached.wait()
    together[0].cancel()
    gate.let_go.set()
    assert (await together[1]).outcome is Outcome.STORED
    assert "stayer" in await seen(leaves)


async def test_a_deadline_passes_for_its_own_waiter_alone(leaves, ports, writer):
    gate = Held()
    ports.lexical.before["write"] = [gate]
    patient = asyncio.create_task(put(writer, "patient"))
    with pytest.raises(DeadlineExceeded):
        await writer.put(TENANT, NAME, prepared("hasty", ["word"]), budget=Budget.of(0.02))
    gate.let_go.set()
    assert (await patient).outcome is Outcome.STORED


async def test_closing_finishes_what_runs_and_refuses_what_waits(leaves, ports):
    gate = Held()
    ports.lexical.before["write"] = [gate]
    writer = Committer(ports, owner="me")
    async with writer:
        running = asyncio.create_task(put(writer, "running"))
        await gate.reached.wait()
        waiting = asyncio.create_task(put(writer, "waiting"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(gate.let_go.set)
    assert (await running).outcome is Outcome.STORED
    with pytest.raises(ShuttingDown):
        await waiting
    with pytest.raises(ShuttingDown):
        await put(writer, "late")
    assert set(await seen(leaves)) == {"running"}


async def test_conflicts_beyond_the_budget_are_told_as_such(ports):
    clock = FakeClock()
    ports.heads.before["swap"] = [failing(Conflict("lost"))] * 100
    async with Committer(ports, owner="me", clock=clock, sleep=clock.sleep) as writer:
        with pytest.raises(Conflict):
            await writer.put(TENANT, NAME, prepared("a", ["word"]), budget=Budget.of(1, clock))
