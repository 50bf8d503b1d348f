"""MirroredHeads and the mirror under very many orders of steps: mirrored, differently mirrored and unmirrored writers.

As tests/unit/chassis/test_mirror.py, one level up: the code of retriever.ingest.mirrored and of chassis.mirror runs
over one head and two mirrors, each coroutine to its next step; chance decides who goes on and what becomes of messages.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, Conflict
from chassis.mirror import TTL_S, Mirror, MirrorUnavailable, mirror_name
from retriever.ingest.ledger import new_head
from retriever.ingest.mirrored import MirroredHeads
from tests.contract.search.samples import WHEN
from tests.unit.chassis.mirror_model import Model, Step

TENANT, COLLECTION = "acme", "docs"
NAME = mirror_name(TENANT, COLLECTION)
BUDGET = Budget.of(1e9)
HISTORIES = 4_000
MOVES = 60
AT_ONCE = 3
WRITERS = ("a", "a", "a too", "b", "none")  # "a too" is another process with a's mirror
MIRROR_STEPS = ("read", "fill", "begin", "end")


class SteppedMirror:
    """One of the two MirrorStores; every call is a Step that names it."""

    def __init__(self, name):
        self._name = name

    async def read(self, *arguments):
        return await Step("read", (self._name, *arguments))

    async def fill(self, *arguments):
        return await Step("fill", (self._name, *arguments))

    async def begin(self, *arguments):
        return await Step("begin", (self._name, *arguments))

    async def end(self, *arguments):
        return await Step("end", (self._name, *arguments))


class SteppedHeads:
    """CollectionHeads of which every call is a Step."""

    async def get(self, tenant, name, *, budget):
        return await Step("get")

    async def swap(self, head, *, budget):
        return await Step("swap", (head,))


async def sleep(seconds):
    await Step("sleep", (seconds,))


async def write(heads):
    """A write, and what it acknowledges: the state it made, or found when the answer was lost or another was faster."""
    head = await heads.get(TENANT, COLLECTION, budget=BUDGET)
    wanted = replace(head, snapshot=replace(head.snapshot, generation=head.snapshot.generation + 1))
    try:
        seen = await heads.swap(wanted, budget=BUDGET)
    except (Conflict, CatalogueUnavailable):
        seen = await heads.get(TENANT, COLLECTION, budget=BUDGET)
    await heads.settle(TENANT, COLLECTION)
    return seen.snapshot.generation


async def read(mirror, heads):
    """An ask: from the mirror, else from a retriever, which fills."""
    try:
        found = await mirror.read(NAME)
    except MirrorUnavailable:
        found = None
    if found is not None and found.value is not None:
        return int(found.value)
    head = await heads.get(TENANT, COLLECTION, budget=BUDGET)
    if found is not None and found.token:
        with suppress(CatalogueUnavailable):
            await heads.fill(head, found.token, b"%d" % head.snapshot.generation, budget=BUDGET)
    return head.snapshot.generation


@dataclass(eq=False)
class Actor:
    kind: str
    work: Any
    floor: int
    step: Any = None


class Machine:
    def __init__(self, chance, heads=MirroredHeads):
        self.chance = chance
        self.models = {"a": Model(), "b": Model()}
        self.now = 0.0
        mirrors = {name: Mirror(SteppedMirror(name), sleep=sleep) for name in self.models}
        kept = {"a": "a", "a too": "a", "b": "b", "none": ""}
        self.heads = {
            process: heads(
                SteppedHeads(), mirrors.get(mark), mark=f"mark-{mark}" if mark else "", clock=self.clock, sleep=sleep
            )
            for process, mark in kept.items()
        }
        self.mirrors = mirrors
        self.head = replace(new_head(TENANT, COLLECTION, uid="u", embedder_fingerprint="", now=WHEN), revision=1)
        self.acknowledged = 0
        self.actors: list[Actor] = []
        self.late: list[Step] = []
        self.is_cut_off = False
        self.hits = 0

    def clock(self):
        return self.now

    def run(self):
        for _ in range(MOVES):
            moves = {self.one_goes_on: 8.0} if self.actors else {}
            if len(self.actors) < AT_ONCE:
                moves |= {self.a_reader_begins: 2.0, self.a_writer_begins: 1.0}
            moves |= {self.time_passes: 0.7, self.committers_are_cut_off: 0.3, self.stores_are_flushed: 0.1}
            if self.reaching_out():
                moves[self.a_message_fails] = 1.0
            if self.late:
                moves[self.a_late_message_arrives] = 1.0
            self.chance.choices(list(moves), list(moves.values()))[0]()

    def a_reader_begins(self):
        process = self.chance.choice(WRITERS)
        mirror = self.chance.choice(["a", "b"])  # whoever is asked keeps this one, another or none
        self.begin("reader", read(self.mirrors[mirror], self.heads[process]))

    def a_writer_begins(self):
        process = self.chance.choice(WRITERS)
        self.begin("writer", write(self.heads[process]))

    def one_goes_on(self):
        actor = self.chance.choice(self.actors)
        if self.is_cut_off and actor.kind == "writer" and actor.step.kind in MIRROR_STEPS:
            self.resume(actor, None, MirrorUnavailable("cut off"))
            return
        try:
            answer = self.done(actor.step)
        except Conflict as conflict:
            self.resume(actor, None, conflict)
        else:
            self.resume(actor, answer)

    def a_message_fails(self):
        actor = self.chance.choice(self.reaching_out())
        is_head = actor.step.kind == "swap"
        match self.chance.choice(["lost", "answer lost", "late"]):
            case "answer lost":
                with suppress(Conflict):
                    self.done(actor.step)
            case "late" if not is_head:  # Transactions closes the number of a late swap before it says anything
                self.late.append(actor.step)
        self.resume(actor, None, CatalogueUnavailable("lost") if is_head else MirrorUnavailable("lost"))

    def a_late_message_arrives(self):
        self.done(self.late.pop(self.chance.randrange(len(self.late))))

    def committers_are_cut_off(self):
        self.is_cut_off = not self.is_cut_off

    def stores_are_flushed(self):
        for model in self.models.values():
            model.flush()

    def time_passes(self):
        self.pass_to(self.now + self.chance.choice([0.1, 0.5, TTL_S - 0.1]))

    def pass_to(self, now):
        self.now = max(self.now, now)
        for model in self.models.values():
            model.now = self.now

    def reaching_out(self):
        return [actor for actor in self.actors if actor.step.kind in (*MIRROR_STEPS, "swap")]

    def begin(self, kind, work):
        actor = Actor(kind, work, self.acknowledged)
        self.actors.append(actor)
        self.resume(actor, None)

    def done(self, step):
        match step.kind:
            case "get":
                return self.head
            case "swap":
                (head,) = step.arguments
                if head.revision != self.head.revision:
                    raise Conflict("another writer was faster")
                self.head = replace(head, revision=head.revision + 1)
                return self.head
            case "sleep until":
                self.pass_to(step.arguments[0])
                return None
            case _:
                mirror, *arguments = step.arguments
                answer = getattr(self.models[mirror], step.kind)(*arguments)
                self.hits += step.kind == "read" and answer.value is not None
                return answer

    def resume(self, actor, answer, failure=None):
        try:
            actor.step = actor.work.throw(failure) if failure else actor.work.send(answer)
        except StopIteration as finished:
            self.actors.remove(actor)
            self.finished(actor, finished.value)
        else:
            if actor.step.kind == "sleep":
                actor.step = Step("sleep until", (self.now + actor.step.arguments[0],))

    def finished(self, actor, generation):
        if actor.kind == "writer":
            self.acknowledged = max(self.acknowledged, generation)
        else:
            assert generation >= actor.floor, "a reader saw what an acknowledged write had passed"

    def close(self):
        for actor in self.actors:
            with suppress(StopIteration, MirrorUnavailable):
                while True:
                    actor.work.throw(MirrorUnavailable("over"))


def explore(heads=MirroredHeads):
    chance = random.Random(82)  # the same in every run: what is found is found again
    hits = 0
    for _ in range(HISTORIES):
        machine = Machine(chance, heads)
        try:
            machine.run()
        finally:
            machine.close()
        hits += machine.hits
    return hits


def test_no_ask_sees_what_an_acknowledged_write_had_passed_whoever_keeps_which_mirror():
    assert explore() > HISTORIES / 4, "the mirrors were hardly used"


class NeverSettles(MirroredHeads):
    async def settle(self, tenant, name):
        return None


class FillsWhateverTheMark(MirroredHeads):
    async def fill(self, head, token, value, *, budget):
        return self._mirror is not None and await self._mirror.fill(NAME, token, value)


class ReplacesClosedMarksAtOnce(MirroredHeads):
    def _mark_after(self, key, before):
        mark = super()._mark_after(key, before)
        return mark if before is None or not before.mirror.startswith("closed") else self._mark


class IgnoresOthersMarks(MirroredHeads):
    def _mark_after(self, key, before):
        return self._mark


@pytest.mark.parametrize("heads", [NeverSettles, FillsWhateverTheMark, ReplacesClosedMarksAtOnce, IgnoresOthersMarks])
def test_without_one_of_the_rules_an_ask_sees_an_old_state(heads):
    with pytest.raises(AssertionError, match="acknowledged write"):
        explore(heads)
