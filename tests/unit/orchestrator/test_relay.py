"""Single flight over replicas: two pipelines that share a board, on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from chassis.budget import Budget
from chassis.errors import RetrieverUnavailable
from orchestrator.board import Over
from orchestrator.fold import fold
from orchestrator.relay.flying import FlightRelay
from orchestrator.types import AnswerDelta, CachePolicy, CacheStatus, DegradedReason
from tests.unit.orchestrator.boards import CLAIM_S, MemoryFlightBoard
from tests.unit.orchestrator.virtual import now, virtual
from tests.unit.orchestrator.world import World, question

TEXT = "The lease lasts 30 seconds [1]."


@dataclass
class Reach:
    """A replica's way to the board; of a dead one nothing arrives there."""

    board: MemoryFlightBoard
    is_dead: bool = False

    async def claim(self, flight, token):
        return await self.board.claim(flight, token)

    async def beat(self, flight, token, chunk, *, over=Over.NOT):
        return 0.0 if self.is_dead else await self.board.beat(flight, token, chunk, over=over)

    async def hear(self, flight, token, position, *, wanted_s):
        return await self.board.hear(flight, token, position, wanted_s=wanted_s)


@dataclass
class Replicas:
    board: MemoryFlightBoard = field(default_factory=lambda: MemoryFlightBoard(now))
    worlds: list[World] = field(default_factory=list)
    reaches: list[Reach] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    def __post_init__(self):
        for _ in range(2):
            self.reaches.append(Reach(self.board))
            self.worlds.append(World(relay=FlightRelay(self.reaches[-1], now, self.roles.append)))
            self.worlds[-1].generator.gap = 0.1

    @property
    def started(self):
        return sum(world.generator.started for world in self.worlds)

    def asked(self, world, count=1, **changes):
        return [asyncio.create_task(self.worlds[world].ask(question(**changes))) for _ in range(count)]

    async def kill(self, world):
        """kill -9: nothing more is told, and nothing is taken back."""
        self.reaches[world].is_dead = True
        await self.worlds[world].pipeline.closed()


@pytest.fixture
def replicas():
    return Replicas()


@virtual
async def test_a_hundred_misses_over_two_replicas_make_one_generation(replicas):
    answers = await asyncio.gather(*replicas.asked(0, 50), *replicas.asked(1, 50))
    assert replicas.started == 1
    assert {answer.text for answer in answers} == {TEXT}
    assert len({answer.citations for answer in answers}) == 1
    assert [answer.started.cache.status for answer in answers].count(CacheStatus.MISS) == 1
    assert sum(answer.completed.cost.amount > 0 for answer in answers) == 1
    assert sum(answer.completed.cost.saved > 0 for answer in answers) == 99


@virtual
async def test_followers_hear_the_text_while_it_is_made(replicas):
    leading = replicas.asked(0)
    await asyncio.sleep(0.05)
    heard = []
    async for event in replicas.worlds[1].pipeline.ask(question(), budget=Budget.of(30.0, now)):
        if isinstance(event, AnswerDelta):
            heard.append(now())
    assert len(heard) >= 3
    [answer] = await asyncio.gather(*leading)
    assert answer.text == TEXT


@virtual
async def test_nothing_is_told_while_nobody_listens(replicas):
    await asyncio.gather(*replicas.asked(0))
    assert replicas.board.told == 1, "only the end"


@virtual
async def test_a_latecomer_just_after_the_end_gets_the_same_answer(replicas):
    await asyncio.gather(*replicas.asked(0))
    [answer] = await asyncio.gather(*replicas.asked(1))
    assert (replicas.started, answer.text, answer.started.cache.status) == (1, TEXT, CacheStatus.JOINED)


@virtual
async def test_an_answer_that_lacked_something_is_not_handed_to_latecomers(replicas):
    replicas.worlds[0].generator.pieces = ("word " * 2_000,) * 4  # cut for its length: partial
    await asyncio.gather(*replicas.asked(0))
    [answer] = await asyncio.gather(*replicas.asked(1))
    assert (replicas.started, answer.text) == (2, TEXT)


@pytest.mark.parametrize("policy", [CachePolicy.BYPASS, CachePolicy.REFRESH])
@virtual
async def test_bypass_and_refresh_never_join(replicas, policy):
    await asyncio.gather(*replicas.asked(0, cache_policy=policy), *replicas.asked(1, cache_policy=policy))
    assert replicas.started == 2


@virtual
async def test_the_answer_goes_on_for_the_others_when_its_own_callers_have_left(replicas):
    leading = replicas.asked(0, 3)
    following = replicas.asked(1, 3)
    await asyncio.sleep(0.25)
    for task in leading:
        task.cancel()
    answers = await asyncio.gather(*following)
    assert [answer.text for answer in answers] == [TEXT] * 3
    assert replicas.started == 1
    assert replicas.worlds[0].generator.stopped_early == 0


@virtual
async def test_it_stops_when_nobody_anywhere_is_left(replicas):
    leading, following = replicas.asked(0), replicas.asked(1)
    replicas.worlds[0].generator.gap = 1.0
    await asyncio.sleep(0.5)
    for task in (*leading, *following):
        task.cancel()
    await asyncio.sleep(3.0)
    assert replicas.worlds[0].generator.stopped_early == 1
    assert replicas.worlds[0].pipeline.generations == 0


@virtual
async def test_callers_who_leave_before_they_are_heard_of_leave_the_flight_to_the_others(replicas):
    leading = replicas.asked(0)
    await asyncio.sleep(0.02)
    following = replicas.asked(1)
    await asyncio.sleep(0.01)
    leading[0].cancel()
    [answer] = await asyncio.gather(*following)
    assert answer.text == TEXT
    assert replicas.started == 2
    assert replicas.worlds[0].generator.stopped_early == 1


@virtual
async def test_a_follower_takes_over_from_a_holder_that_dies_before_its_first_word(replicas):
    replicas.worlds[0].generator.gap = 3_600.0
    replicas.asked(0)
    await asyncio.sleep(0.01)
    following = replicas.asked(1, 5)
    await asyncio.sleep(0.3)
    began = now()
    await replicas.kill(0)
    answers = await asyncio.gather(*following)
    assert [answer.text for answer in answers] == [TEXT] * 5
    assert now() - began < CLAIM_S + 1.0
    assert replicas.worlds[1].generator.started == 1


@virtual
async def test_a_text_that_is_made_the_same_again_goes_on_without_a_seam(replicas):
    replicas.worlds[0].generator.gap = 1.0
    replicas.asked(0)
    await asyncio.sleep(0.01)
    following = replicas.asked(1)
    await asyncio.sleep(2.5)
    await replicas.kill(0)
    [answer] = await asyncio.gather(*following)
    assert answer.text == TEXT
    assert answer.completed.degraded == ()


@virtual
async def test_a_text_that_is_made_otherwise_ends_where_it_was(replicas):
    replicas.worlds[0].generator.gap = 1.0
    replicas.worlds[1].generator.pieces = ("Another ", "answer [1].")
    replicas.asked(0)
    await asyncio.sleep(0.01)
    following = replicas.asked(1)
    await asyncio.sleep(2.5)
    await replicas.kill(0)
    [answer] = await asyncio.gather(*following)
    assert TEXT.startswith(answer.text)
    assert answer.text
    assert answer.completed.is_partial
    assert [lost.reason for lost in answer.completed.degraded] == [DegradedReason.MODEL_UNAVAILABLE]


@virtual
async def test_a_holder_that_fails_leaves_each_to_its_own_try(replicas):
    replicas.worlds[0].retriever.retrieve_delay = 0.1
    replicas.worlds[0].retriever.retrieve_error = RetrieverUnavailable("down")
    leading = replicas.asked(0)
    await asyncio.sleep(0.02)
    following = replicas.asked(1)
    with pytest.raises(RetrieverUnavailable):
        await leading[0]
    [answer] = await asyncio.gather(*following)
    assert answer.text == TEXT


@virtual
async def test_without_its_board_every_replica_makes_its_own_answer(replicas):
    replicas.board.is_down = True
    answers = await asyncio.gather(*replicas.asked(0, 5), *replicas.asked(1, 5))
    assert {answer.text for answer in answers} == {TEXT}
    assert replicas.started == 2
    assert {answer.completed.degraded for answer in answers} == {()}


@pytest.mark.parametrize("at", [0.05, 0.15, 0.35])
@pytest.mark.parametrize("loss", ["down", "forgotten"])
@virtual
async def test_a_board_that_goes_in_mid_flight_fails_nobody(replicas, at, loss):
    leading = replicas.asked(0)
    await asyncio.sleep(0.01)
    following = replicas.asked(1)
    await asyncio.sleep(at)
    began = now()
    if loss == "down":
        replicas.board.is_down = True
    else:
        replicas.board.forget()
    answers = await asyncio.gather(*leading, *following)
    assert [answer.text for answer in answers] == [TEXT] * 2
    assert now() - began < 2.0


@virtual
async def test_a_follower_with_little_time_does_not_wait_for_a_holder_that_says_nothing(replicas):
    replicas.worlds[0].retriever.snapshot_now = replicas.worlds[1].retriever.snapshot_now
    held = asyncio.create_task(replicas.worlds[0].ask(seconds=600.0))
    replicas.worlds[0].pipeline._maker._retriever = Silent()
    await asyncio.sleep(0.01)
    events = await replicas.worlds[1].events(seconds=2.0)
    assert fold(events).text == TEXT
    held.cancel()


class Silent:
    """A retriever that hangs beyond its timebox."""

    async def retrieve(self, question, vector, fingerprint, *, budget):
        await asyncio.sleep(3_600.0)
