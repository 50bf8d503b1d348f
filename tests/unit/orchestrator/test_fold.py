"""fold: an answer is its event list; and a waiter's merged deltas change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InternalError
from orchestrator.fold import fold
from orchestrator.replay import _coalesced
from orchestrator.types import (
    AnswerCompleted,
    AnswerDelta,
    AnswerStarted,
    CacheResult,
    CacheStatus,
    Citation,
    CitationAdded,
    Cost,
    FinishReason,
    Grounding,
    RetrievalCompleted,
    Timings,
    Usage,
)
from tests.unit.orchestrator.virtual import virtual
from tests.unit.orchestrator.world import World

STARTED = AnswerStarted("a", "r", "t", "m", CacheResult(CacheStatus.MISS))
PASSAGES = RetrievalCompleted((), (), 1.0, "u", 1)
COMPLETED = AnswerCompleted(
    FinishReason.STOP, Usage(), Timings(), Cost(), Grounding.SUPPORTED, (), (), is_partial=False
)


def cited(marker):
    return CitationAdded(Citation(marker, "d", "", "", "", "", 0, "c", "q", 0, 1))


said = st.lists(st.one_of(st.text(min_size=1, max_size=5).map(AnswerDelta), st.integers(1, 9).map(cited)), max_size=30)


@given(said)
def test_the_text_is_the_deltas_and_the_citations_keep_their_order(events):
    answer = fold([STARTED, PASSAGES, *events, COMPLETED])
    assert answer.text == "".join(event.text for event in events if isinstance(event, AnswerDelta))
    assert list(answer.citations) == [event.citation for event in events if isinstance(event, CitationAdded)]


@given(said, st.lists(st.integers(1, 6), max_size=30))
def test_however_the_events_are_batched_and_merged_the_answer_is_the_same(events, cuts):
    whole = [STARTED, PASSAGES, *events, COMPLETED]
    merged: list[Any] = []
    rest = whole
    for size in [*cuts, len(whole)]:
        merged += _coalesced(rest[:size])
        rest = rest[size:]
    assert fold(merged) == fold(whole)


@given(said)
def test_merging_never_puts_a_delta_before_a_citation_that_came_before_it(events):
    merged = list(_coalesced(events))
    for position, event in enumerate(events):
        if isinstance(event, CitationAdded):
            text_before = sum(len(e.text) for e in events[:position] if isinstance(e, AnswerDelta))
            at = next(i for i, e in enumerate(merged) if e is event)
            assert sum(len(e.text) for e in merged[:at] if isinstance(e, AnswerDelta)) <= text_before


@given(st.lists(st.sampled_from(["The lease ", "lasts 30 seconds", " [1]", "[", "1]", ". ", "[9]"]), min_size=1))
def test_leader_follower_and_hit_give_one_answer_however_the_model_cuts_its_text(pieces):
    @virtual
    async def scenario():
        world = World()
        world.generator.pieces = ("Well: ", *pieces)
        world.generator.gap = 0.01
        leader, follower = await asyncio.gather(world.ask(), world.ask())
        later = await world.ask()
        told = {(answer.text, answer.citations, answer.completed.cited_markers) for answer in (leader, follower, later)}
        assert len(told) == 1
        assert world.generator.started == 1 or later.started.cache.status is CacheStatus.MISS

    scenario()


@pytest.mark.parametrize(
    "events",
    [
        [],
        [STARTED],
        [STARTED, PASSAGES],
        [PASSAGES, STARTED, COMPLETED],
        [STARTED, COMPLETED],
        [STARTED, STARTED, PASSAGES, COMPLETED],
        [STARTED, AnswerDelta("x"), PASSAGES, COMPLETED],
        [STARTED, cited(1), PASSAGES, COMPLETED],
        [STARTED, PASSAGES, PASSAGES, COMPLETED],
        [STARTED, PASSAGES, COMPLETED, COMPLETED],
        [STARTED, PASSAGES, COMPLETED, AnswerDelta("x")],
    ],
)
def test_events_out_of_order_are_a_bug_that_is_noticed(events):
    with pytest.raises(InternalError):
        fold(events)
