"""Stems meet across inflections, and stop words carry nothing."""

from __future__ import annotations

import pytest

from orchestrator.words import content_stems, rarity, stem, words


@pytest.mark.parametrize(
    "family",
    [
        ("ally", "allies", "allied"),
        ("stop", "stops", "stopped", "stopping"),
        ("organize", "organizes", "organized", "organizing"),
        ("nation", "nations"),
        ("Tesla", "Tesla's", "TESLA", "Tesla\u2019s"),
        ("city", "cities"),
        ("quick", "quickly", "quicker", "quickest"),
        ("cache", "caches", "cached", "caching"),
        ("die", "dies", "died"),
        ("use", "uses", "used"),
        ("need", "needs", "needed"),
        ("setting", "settings"),
        ("string", "strings"),
        ("box", "boxes"),
        ("process", "processes"),
        ("state", "states", "stated"),
    ],
)
def test_inflections_share_a_stem(family):
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize("word", ["red", "us", "was", "1960s", "3rd"])
def test_short_words_and_numbers_stay_whole(word):
    assert stem(word) == word


def test_different_words_keep_different_stems():
    assert len({stem(word) for word in ("enable", "disable", "version", "river", "1999", "1998")}) == 6


def test_only_content_counts():
    assert content_stems(words("What is the name of the river in Brazil?")) == {stem("river"), stem("brazil")}


def test_long_words_say_more_than_short_ones():
    assert rarity("photosynthesis") > rarity("plant") > rarity("sun")
