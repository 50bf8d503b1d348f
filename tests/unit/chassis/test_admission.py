"""The queue's decisions, on a clock that stands still unless told."""

from __future__ import annotations

import asyncio

import pytest

from chassis.admission import CONTROL_INTERVAL_S, TARGET_WAIT_S, Admission, Limit
from chassis.budget import Budget
from chassis.errors import Overloaded

ASK, INGEST = "/s/Ask", "/s/Ingest"


class Holder:
    """Takes places and gives them back when told."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.served: list[str] = []

    def start(self, name: str, budget: Budget, method: str = ASK) -> tuple[asyncio.Task[None], asyncio.Event]:
        leave = asyncio.Event()

        async def hold() -> None:
            async with self._admission.place(method, budget):
                self.served.append(name)
                await leave.wait()

        return asyncio.create_task(hold()), leave


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiting_calls_are_served_in_the_order_they_came(clock):
    holder = Holder(Admission(Limit(1, 10), clock=clock))
    calls = [holder.start(name, Budget.of(60.0, clock)) for name in "abc"]
    for task, leave in calls:
        await settle()
        leave.set()
        await task
    assert holder.served == ["a", "b", "c"]


async def test_at_the_hand_over_a_call_that_can_no_longer_make_it_is_shed_for_one_that_can(clock):
    holder = Holder(Admission(Limit(1, 10), clock=clock))
    first, leave_first = holder.start("first", Budget.of(60.0, clock))
    await settle()
    hurried, _ = holder.start("hurried", Budget.of(1.0, clock))
    patient, leave_patient = holder.start("patient", Budget.of(60.0, clock))
    await settle()
    clock.advance(0.9)  # the first one takes this long: 0.1 s is left to the hurried one
    leave_first.set()
    leave_patient.set()
    with pytest.raises(Overloaded):
        await hurried
    await asyncio.gather(first, patient)
    assert holder.served == ["first", "patient"]


async def test_a_queue_that_has_stood_for_an_interval_lets_nobody_wait_long(clock):
    holder = Holder(Admission(Limit(1, 10, max_wait_s=60.0), clock=clock))
    first, leave = holder.start("first", Budget.of(60.0, clock))
    await settle()
    waiting, leave_waiting = holder.start("waiting", Budget.of(60.0, clock))
    await settle()
    clock.advance(CONTROL_INTERVAL_S * 2)
    late, _ = holder.start("late", Budget.of(60.0, clock))
    with pytest.raises(Overloaded):
        await asyncio.wait_for(late, 5.0)
    leave.set()
    leave_waiting.set()
    await asyncio.gather(first, waiting)


async def test_who_waits_first_behind_long_calls_waits_as_long_as_in_a_burst(clock):
    holder = Holder(Admission(Limit(1, 10, max_wait_s=60.0), clock=clock))
    first, leave = holder.start("first", Budget.of(600.0, clock))
    await settle()
    clock.advance(CONTROL_INTERVAL_S * 2)
    gone, _ = holder.start("gone", Budget.of(600.0, clock))
    await settle()
    clock.advance(CONTROL_INTERVAL_S * 2)
    gone.cancel()
    await settle()
    waiting, leave_waiting = holder.start("waiting", Budget.of(600.0, clock))
    done, _ = await asyncio.wait({waiting}, timeout=TARGET_WAIT_S * 5)
    assert not done
    leave.set()
    leave_waiting.set()
    await asyncio.gather(first, waiting)
    assert holder.served == ["first", "waiting"]


async def test_a_method_with_a_pool_of_its_own_neither_takes_nor_needs_the_others_places(clock):
    admission = Admission(Limit(1, 0), methods={INGEST: Limit(1, 0)}, clock=clock)
    holder = Holder(admission)
    ingest, leave_ingest = holder.start("ingest", Budget.of(60.0, clock), INGEST)
    ask, leave_ask = holder.start("ask", Budget.of(60.0, clock))
    await settle()
    assert sorted(holder.served) == ["ask", "ingest"]
    assert admission.in_flight == 2
    leave_ask.set()
    leave_ingest.set()
    await asyncio.gather(ask, ingest)


async def test_the_time_to_retry_grows_with_the_queue_and_is_bounded(clock):
    admission = Admission(Limit(1, 3), clock=clock)
    holder = Holder(admission)
    teaching, leave = holder.start("teaches that one takes 2 s", Budget.of(60.0, clock))
    await settle()
    clock.advance(2.0)
    leave.set()
    await teaching
    calls = [holder.start(str(n), Budget.of(60.0, clock)) for n in range(4)]
    await settle()
    with pytest.raises(Overloaded) as shed:
        await admission.pool_of(ASK).enter(Budget.of(60.0, clock))
    assert shed.value.retry_after_s == 5.0  # (3 waiting + 1) x 2 s, capped
    for task, go in calls:
        go.set()
        await settle()
        await task


async def test_whatever_happens_every_place_comes_back(clock):
    admission = Admission(Limit(3, 5), clock=clock)
    holder = Holder(admission)
    calls = [holder.start(str(n), Budget.of(60.0, clock)) for n in range(30)]
    await settle()
    for number, (task, leave) in enumerate(calls):
        if number % 3:
            task.cancel()
        leave.set()
        await settle()
    await asyncio.gather(*(task for task, _ in calls), return_exceptions=True)
    assert (admission.in_flight, admission.waiting) == (0, 0)
