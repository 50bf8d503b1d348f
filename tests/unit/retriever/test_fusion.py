"""Two rankings become one: order-free, monotone, bounded, and explainable leg by leg."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.fusion import DEFAULT_WEIGHTS, FUSION_FINGERPRINT, FusionWeights, fuse
from retriever.types import Chunk, DocumentRecord, Hit, LegScore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 200


def hit(number: int, score: float) -> Hit:
    chunk = Chunk(f"1.{number}", 1, number, f"text {number}", f"text {number}", "", 0, 0, 6)
    record = DocumentRecord("d", 1, "", "", "", "text/plain", {}, ("*",), "", 1, 6, 6, NOW)
    return Hit(chunk, record, score)


def hits(scores: dict[int, float]) -> list[Hit]:
    return [hit(number, score) for number, score in scores.items()]


def order(dense: dict[int, float], lexical: dict[int, float]) -> list[int]:
    return [passage.chunk.position for passage in fuse(hits(dense), hits(lexical), LIMIT)]


COSINES = st.dictionaries(st.integers(0, 40), st.floats(-1, 1), max_size=30)
BM25 = st.dictionaries(st.integers(0, 40), st.floats(0, 60), max_size=30)


@given(COSINES, BM25, st.randoms())
def test_the_order_of_the_hits_does_not_matter(dense, lexical, rng: random.Random):
    ours, theirs = hits(dense), hits(lexical)
    expected = fuse(ours, theirs, LIMIT)
    rng.shuffle(ours)
    rng.shuffle(theirs)
    assert fuse(ours, theirs, LIMIT) == expected


@given(COSINES, BM25)
def test_scores_lie_between_0_and_1_and_fall(dense, lexical):
    scores = [passage.score for passage in fuse(hits(dense), hits(lexical), LIMIT)]
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores == sorted(scores, reverse=True)


@given(COSINES, BM25)
def test_every_chunk_is_returned_once_with_what_each_leg_said(dense, lexical):
    passages = fuse(hits(dense), hits(lexical), LIMIT)
    assert sorted(passage.chunk.position for passage in passages) == sorted({*dense, *lexical})
    for passage in passages:
        for said, leg in ((passage.dense, dense), (passage.lexical, lexical)):
            number = passage.chunk.position
            assert (said is None) == (number not in leg)
            assert said is None or said.score == leg[number]


@given(COSINES, BM25)
def test_a_chunk_no_worse_in_both_legs_never_scores_lower(dense, lexical):
    passages = fuse(hits(dense), hits(lexical), LIMIT)
    both = [(one.dense.score, one.lexical.score, one.score) for one in passages if one.dense and one.lexical]
    for dense_score, lexical_score, score in both:
        assert all(score >= other for d, w, other in both if dense_score >= d and lexical_score >= w)


@given(COSINES)
def test_one_leg_alone_keeps_its_order(scores):
    expected = sorted(scores, key=lambda number: (-scores[number], number))
    assert order(scores, {}) == expected
    bm25 = {number: score + 1 for number, score in scores.items()}
    assert order({}, bm25) == sorted(bm25, key=lambda number: (-bm25[number], number))


@given(COSINES, BM25, st.integers(1, 10))
def test_a_limit_cuts_and_changes_nothing_else(dense, lexical, limit):
    assert fuse(hits(dense), hits(lexical), limit) == fuse(hits(dense), hits(lexical), LIMIT)[:limit]


def test_ranks_are_counted_from_1_within_each_leg():
    passages = fuse(hits({1: 0.9, 2: 0.5}), hits({1: 3.0, 2: 9.0, 3: 1.0}), LIMIT)
    assert {one.chunk.position: (one.dense, one.lexical) for one in passages} == {
        1: (LegScore(1, 0.9), LegScore(2, 3.0)),
        2: (LegScore(2, 0.5), LegScore(1, 9.0)),
        3: (None, LegScore(3, 1.0)),
    }


def test_a_leg_whose_scores_hardly_fall_has_less_to_say():
    flat = {number: 0.50 - number / 10_000 for number in range(20)}
    steep = {number: 20.0 if number == 7 else 2.0 - number / 100 for number in range(20)}
    assert order(flat, steep)[0] == 7
    peak = {number: 0.9 if number == 3 else 0.1 for number in range(20)}
    even = {number: 5.0 - number / 1_000 for number in range(20)}
    assert order(peak, even)[0] == 3


def test_words_that_are_everywhere_do_not_outvote_meaning():
    """In a collection of two chunks SQLite's BM25 is a millionth: its order is chance."""
    assert order({1: 0.8, 2: 0.1}, {2: 2e-6, 1: 1e-6})[0] == 1


def test_copies_in_other_documents_all_stay():
    copy = hit(2, 0.5)
    copy = replace(copy, document=replace(copy.document, document_id="e"))
    assert len(fuse([hit(1, 0.5), copy], [], LIMIT)) == 2


def test_a_chunk_listed_twice_counts_by_its_best_score():
    [passage] = fuse([hit(1, 0.2), hit(1, 0.7)], [], LIMIT)
    assert passage.dense == LegScore(1, 0.7)


def test_nothing_found_is_nothing_returned():
    assert fuse([], [], LIMIT) == []


@pytest.mark.parametrize(
    "change",
    [
        {"dense": 0.5},
        {"depth": 60},
        {"dense_spread_at": 11},
        {"lexical_spread_at": 11},
        {"dense_caution": 1.0},
        {"contrast": 1.0},
        {"weak_bm25": 0.2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_number_changes_the_fingerprint(change):
    assert replace(DEFAULT_WEIGHTS, **change).fingerprint != FUSION_FINGERPRINT


def test_equal_weights_have_equal_fingerprints():
    assert FusionWeights().fingerprint == FUSION_FINGERPRINT
