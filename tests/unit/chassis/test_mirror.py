"""The mirror's protocol under very many orders of steps, with lost, late and forgotten ones among them.

The machine drives the code of chassis.mirror itself: each coroutine runs to its next step, and chance decides which of
them goes on, and what becomes of its message.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from chassis.mirror import MARK_S, TTL_S, Mirror, MirrorUnavailable
from tests.unit.chassis.mirror_model import Model, Step, SteppedStore

NAME = "tenant/docs"
HISTORIES = 10_000  # each of the mistakes below is found in the first two thousand
MOVES = 40
AT_ONCE = 3  # readers and committers; every mistake below shows with one committer and two readers
STORE_STEPS = ("read", "fill", "begin", "end")


def lost():
    return MirrorUnavailable("lost")


async def sleep(seconds):
    await Step("sleep", (seconds,))


async def read_source():
    return await Step("source")


async def current(mirror):
    """A reader and, from its source on, the process it asks: that one fills what it read, under the reader's token."""
    try:
        found = await mirror.read(NAME)
    except MirrorUnavailable:
        return await read_source()
    if found.value is not None:
        return found.value
    value = await read_source()
    if found.token:
        await mirror.fill(NAME, found.token, value)
    return value


async def commit(mirror):
    async with mirror.committing(NAME):
        return await Step("swap")


@dataclass(eq=False)
class Actor:
    kind: str
    work: Any
    floor: int  # what was acknowledged when it began
    step: Any = None


class Machine:
    """One history: whatever may happen next is drawn by weight."""

    def __init__(self, chance, model, mirror):
        self.chance = chance
        self.model = model()
        self.mirror = mirror(SteppedStore(), sleep=sleep)
        self.head = 0
        self.acknowledged = 0
        self.actors: list[Actor] = []
        self.late: list[Step] = []
        self.is_faultless = True
        self.is_cut_off = False

    def run(self):
        for _ in range(MOVES):
            moves = self.possible()
            self.chance.choices(list(moves), list(moves.values()))[0]()
            if self.is_faultless and self.model.value is not None:
                assert int(self.model.value[0]) == self.head, "what lies there is old though nothing failed"

    def possible(self):
        """What may happen now, and how often it does compared with the rest."""
        moves = {self.a_reader_begins: 2.0, self.a_committer_begins: 1.0} if len(self.actors) < AT_ONCE else {}
        if self.actors:
            moves[self.one_goes_on] = 8.0
        moves[self.committers_are_cut_off] = 0.5
        if self.reaching_out():
            moves[self.a_message_fails] = 1.0
        if self.late:
            moves[self.a_late_message_arrives] = 1.0
        if self.model.holds_something():
            moves |= {self.the_store_is_flushed: 0.3, self.time_passes: 1.0}
        if any(actor.step.kind == "sleep until" for actor in self.actors):
            moves[self.a_moment_passes] = 3.0
        return moves

    def a_reader_begins(self):
        self.begin("reader", current(self.mirror))

    def a_committer_begins(self):
        self.begin("committer", commit(self.mirror))

    def one_goes_on(self):
        actor = self.chance.choice(self.actors)
        if self.is_cut_off and actor.kind == "committer" and actor.step.kind in STORE_STEPS:
            self.is_faultless = False
            self.resume(actor, None, lost())
        else:
            self.resume(actor, self.done(actor.step))

    def committers_are_cut_off(self):
        """From the store, while readers reach it; or reach it again."""
        self.is_cut_off = not self.is_cut_off

    def a_message_fails(self):
        actor = self.chance.choice(self.reaching_out())
        self.is_faultless = False
        match self.chance.choice(["lost", "answer lost", "late"]):
            case "answer lost":
                self.done(actor.step)
            case "late":
                self.late.append(actor.step)
        self.resume(actor, None, lost())

    def a_late_message_arrives(self):
        self.done(self.late.pop(self.chance.randrange(len(self.late))))

    def the_store_is_flushed(self):
        self.is_faultless = False
        self.model.flush()

    def time_passes(self):
        self.model.now += self.chance.choice([0.1, 0.5, TTL_S - 0.1, TTL_S, MARK_S])
        if any(actor.kind == "committer" for actor in self.actors):
            self.is_faultless = False  # its mark may have ended before it did

    def a_moment_passes(self):
        """In a committer's wait: what still lives then was not to have a longer life than the wait."""
        self.model.now += 0.5

    def reaching_out(self):
        return [actor for actor in self.actors if actor.step.kind in STORE_STEPS]

    def begin(self, kind, work):
        actor = Actor(kind, work, self.acknowledged)
        self.actors.append(actor)
        self.resume(actor, None)

    def done(self, step):
        match step.kind:
            case "source":
                return b"%d" % self.head
            case "swap":
                self.head += 1
                return self.head
            case "sleep until":
                self.model.now = max(self.model.now, step.arguments[0])
                return None
            case _:
                return getattr(self.model, step.kind)(*step.arguments)

    def resume(self, actor, answer, failure=None):
        try:
            actor.step = actor.work.throw(failure) if failure else actor.work.send(answer)
        except StopIteration as finished:
            self.actors.remove(actor)
            self.finished(actor, finished.value)
        else:
            if actor.step.kind == "sleep":  # its time runs from now on, not from when chance has it wake
                actor.step = Step("sleep until", (self.model.now + actor.step.arguments[0],))

    def finished(self, actor, value):
        if actor.kind == "committer":
            self.acknowledged = max(self.acknowledged, value)
        else:
            assert int(value) >= actor.floor, "a reader saw what an acknowledged commit had passed"

    def close(self):
        for actor in self.actors:
            with suppress(StopIteration, MirrorUnavailable):
                while True:
                    actor.work.throw(lost())


def explore(model=Model, mirror=Mirror):
    chance = random.Random(20_001)  # the same in every run: what is found is found again
    for _ in range(HISTORIES):
        machine = Machine(chance, model, mirror)
        try:
            machine.run()
        finally:
            machine.close()


def test_no_reader_sees_what_an_acknowledged_commit_had_passed():
    explore()


# The machine finds the mistakes that the rules are there for.


class FillsWithoutToken(Model):
    def fill(self, name, token, value):
        self.value = (value, self.now + self.ttl_s)
        return True


class ExtendsLives(Model):
    def fill(self, name, token, value):
        is_filled = super().fill(name, token, value)
        if is_filled:
            self.value = (value, self.now + self.ttl_s)
        return is_filled


class KeepsTokensAtTheEnd(Model):
    def end(self, name, mark):
        token = self.token
        super().end(name, mark)
        self.token = token


class IgnoresMarks(Model):
    def begin(self, name, mark):
        self.value = self.token = None


class NeverWaits(Mirror):
    def __init__(self, store, *, sleep):
        super().__init__(store, sleep=no_sleep)


async def no_sleep(seconds):
    return None


@pytest.mark.parametrize(
    ("model", "mirror"),
    [
        (FillsWithoutToken, Mirror),
        (ExtendsLives, Mirror),
        (KeepsTokensAtTheEnd, Mirror),
        (IgnoresMarks, Mirror),
        (Model, NeverWaits),
    ],
)
def test_a_protocol_without_one_of_its_rules_is_found_out(model, mirror):
    with pytest.raises(AssertionError, match=r"acknowledged commit|nothing failed"):
        explore(model, mirror)
