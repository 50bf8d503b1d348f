"""The answers evaluation measures what it says, on a corpus small enough to check by eye."""

from __future__ import annotations

import json

import pytest

from bench.quality.answers import evaluate, normalised, table
from bench.quality.thresholds import verdicts
from tests.unit.orchestrator.embedders import WordEmbedder
from tests.unit.orchestrator.passages import AMAZON, TESLA

QUESTIONS = {
    TESLA: [("Where was Nikola Tesla born?", "Smiljan"), ("When did Tesla die in New York?", "7 January 1943")],
    AMAZON: [
        ("What country holds the majority of the rainforest?", "Brazil"),
        ("Who owns the Amazon basin?", "nobody"),
    ],
}


@pytest.fixture
def data(tmp_path):
    """Article 0 (even) is Tesla, article 1 (odd) the Amazon, whose second question has no answer in its paragraph."""
    articles = [
        {"paragraphs": [{"context": text, "qas": [{"question": q, "answers": [{"text": a}]} for q, a in asked]}]}
        for text, asked in QUESTIONS.items()
    ]
    (tmp_path / "xquad.en.json").write_text(json.dumps({"data": articles}))
    corpora = tmp_path / "chunking_evaluation" / "corpora"
    corpora.mkdir(parents=True)
    (corpora / "finance.md").write_text("the annual revenue grew by 3% on higher sales. interest expense was lower.")
    return tmp_path


async def test_figures_say_what_was_answered_per_half_and_in_all(data):
    figures = await evaluate(data, WordEmbedder())
    assert (figures["even.contained"], figures["odd.contained"], figures["whole.contained"]) == (1.0, 0.5, 0.75)
    assert figures["even.not_found"] == 0.0
    assert figures["finance.whole.not_found"] == 1.0
    assert figures["quotes_verbatim"] == 1.0
    assert 5 < figures["even.mean_words"] < 60


async def test_every_threshold_names_a_figure_and_the_table_shows_both_halves(data):
    figures = await evaluate(data, WordEmbedder())
    assert [verdict.name for verdict in verdicts("answers", figures) if verdict.value is None] == []
    lines = table(figures).splitlines()
    assert [line.split()[0] for line in lines] == ["XQuAD-en", "even", "odd", "whole", "quotes"]


@pytest.mark.parametrize(
    ("text", "same"),
    [("The Amazon!", "amazon"), ("a 60%  share", "60 share"), ("U.S.A.", "usa"), ("an apple", "apple")],
)
def test_answers_are_compared_as_squad_compares_them(text, same):
    assert normalised(text) == same
