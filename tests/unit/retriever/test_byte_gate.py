"""Bytes in work are bounded, in order, whatever happens to those who wait."""

from __future__ import annotations

import asyncio

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded
from retriever.ingest.gate import ByteGate


def ample():
    return Budget.of(60.0)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


class Holder:
    """Somebody who holds bytes until told to leave."""

    def __init__(self, gate, size, budget=None) -> None:
        self.is_in = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(gate, size, budget or ample()))

    async def _hold(self, gate, size, budget):
        async with gate.hold(size, budget):
            self.is_in = True
            await self._leave.wait()

    async def leave(self):
        self._leave.set()
        await self.task


async def test_what_fits_goes_in_and_comes_back():
    gate = ByteGate(10)
    async with gate.hold(6, ample()), gate.hold(4, ample()):
        assert gate.held == 10
    assert gate.held == 0


async def test_what_does_not_fit_waits_its_turn_and_the_small_do_not_overtake_it():
    gate = ByteGate(10)
    first, large, small = Holder(gate, 6), Holder(gate, 8), Holder(gate, 1)
    await settle()
    assert (first.is_in, large.is_in, small.is_in) == (True, False, False)
    await first.leave()
    await settle()
    assert (large.is_in, small.is_in, gate.held) == (True, True, 9)
    await large.leave()
    await small.leave()
    assert gate.held == 0


async def test_more_than_all_of_it_is_let_in_alone():
    gate = ByteGate(10)
    async with gate.hold(1_000, ample()):
        assert gate.held == 10
    assert gate.held == 0


async def test_a_wait_beyond_the_budget_is_a_deadline():
    gate = ByteGate(10)
    async with gate.hold(10, ample()):
        with pytest.raises(DeadlineExceeded):
            async with gate.hold(1, Budget.of(0.01)):
                pass
    assert gate.held == 0


async def test_who_gives_up_waiting_lets_the_next_one_in():
    gate = ByteGate(10)
    first, large, small = Holder(gate, 6), Holder(gate, 8), Holder(gate, 1)
    await settle()
    large.task.cancel()
    await settle()
    assert small.is_in
    await first.leave()
    await small.leave()
    assert gate.held == 0


async def test_bytes_handed_over_in_the_moment_of_cancelling_are_not_lost():
    gate = ByteGate(10)
    first, waiting = Holder(gate, 10), Holder(gate, 10)
    await settle()
    first._leave.set()
    first.task.add_done_callback(lambda _: waiting.task.cancel())
    await settle()
    assert waiting.task.cancelled()
    assert gate.held == 0
