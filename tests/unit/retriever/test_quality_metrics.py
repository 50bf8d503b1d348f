"""The evaluation's own arithmetic, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.quality.golden import DOCS, golden_questions
from bench.quality.metrics import Overlap, TokenRuler, judge
from bench.quality.thresholds import verdicts
from bench.quality.vectors import CachedEmbedder
from chassis.budget import Budget


def test_a_right_answer_at_the_top_is_perfect():
    ranking = judge(["a", "b"], {"a"})
    assert (ranking.ndcg10, ranking.recall5, ranking.hit1, ranking.mrr) == (1.0, 1.0, 1.0, 1.0)


def test_a_right_answer_in_third_place_is_discounted():
    ranking = judge(["x", "y", "a"], {"a"})
    assert ranking.ndcg10 == pytest.approx(1 / math.log2(4))
    assert (ranking.recall5, ranking.hit1) == (1.0, 0.0)
    assert ranking.mrr == pytest.approx(1 / 3)


def test_beyond_the_depths_nothing_counts_but_the_reciprocal_rank():
    ranking = judge([*"xxxxxxxxxx", "a"], {"a"})
    assert (ranking.ndcg10, ranking.recall5) == (0.0, 0.0)
    assert ranking.mrr == pytest.approx(1 / 11)


def test_tokens_of_overlapping_finds_are_paid_for_twice():
    ruler = TokenRuler([(at, at + 1) for at in range(10)])
    assert ruler.overlap([(0, 4), (2, 6)], [(4, 8)]) == Overlap(recall=0.5, precision=0.25, iou=0.2)


def test_a_threshold_is_missed_by_a_figure_that_was_not_measured(tmp_path):
    file = tmp_path / "thresholds.toml"
    file.write_text('[part]\n"a" = { min = 1.0 }\n"b" = { max = 2.0 }\n"c" = { min = 0.0 }\n')
    assert [one.is_met for one in verdicts("part", {"a": 1.0, "b": 2.5}, file)] == [True, False, False]


def test_the_golden_set_asks_only_what_the_docs_say():
    for golden in golden_questions():
        page = " ".join((DOCS / golden.document).read_text().split()).lower()
        assert golden.phrase.lower() in page, golden.question


class CountingEmbedder:
    fingerprint, dim = "counting", 2

    def __init__(self):
        self.seen = []

    async def embed(self, texts, *, budget):
        self.seen += texts
        return np.array([[len(text), 1] for text in texts], np.float32)


async def test_a_text_is_embedded_once_in_its_life(tmp_path):
    inner = CountingEmbedder()
    for _ in range(2):
        async with CachedEmbedder.opened(inner, tmp_path) as embedder:
            vectors = await embedder.embed(["a", "bb", "a"], budget=Budget.of(9))
            assert vectors.tolist() == [[1, 1], [2, 1], [1, 1]]
    assert inner.seen == ["a", "bb"]
