"""Stems meet across inflections, and stop words carry nothing."""

from __future__ import annotations

import time
import unicodedata

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


@pytest.mark.parametrize(
    "text", ["Der Münchner Föhn", "résumé naïve café", "Việt Nam", "Ελλάδα μία", "l\u2019été d'Émile"]
)
def test_words_are_the_same_however_their_marks_are_encoded(text):
    assert words(unicodedata.normalize("NFD", text)) == words(text)
    assert len(words(text)) == len(text.split())


def test_a_mark_that_no_letter_composes_with_stays_in_its_word():
    assert [word.text for word in words("x\u0302y \u0302 z")] == ["x\u0302y", "z"]


def test_marks_without_end_are_read_in_no_time():
    started = time.process_time()
    words("a" + "\u0301" * 8_000 + "a\u0301" * 4_000)
    assert time.process_time() - started < 1.0
