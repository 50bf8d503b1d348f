"""Whether the sources carry an answer, before it is made and after."""

from __future__ import annotations

import time
import unicodedata

import pytest

from orchestrator.evidence import Signals, read
from orchestrator.grounding import NOT_FOUND_TEXT, answerability, asks_for_another, assess, is_answerable
from orchestrator.types import FinishReason, Grounding
from tests.unit.orchestrator.passages import AMAZON, TESLA, passage

SOURCES = (passage(1, TESLA), passage(2, AMAZON, title="The Amazon"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tesla was born in Smiljan in 1856. [1]", Grounding.SUPPORTED),
        ("Tesla was born in Smiljan in 1856 [1].", Grounding.SUPPORTED),
        ("Tesla was born in Smiljan. [1] The forest is mostly in Brazil. [2]", Grounding.SUPPORTED),
        ("Tesla died in New York, far from the rainforest of Brazil. [1][2]", Grounding.PARTIAL),
        ("Tesla was born in Smiljan. [2]", Grounding.PARTIAL),
        ("Tesla was born in Smiljan.", Grounding.PARTIAL),
        ("Tesla was born in Smiljan in 1857. [1]", Grounding.PARTIAL),
        ("Tesla was born in Smiljan. [1] He invented wireless telephones. [1]", Grounding.PARTIAL),
        ("Tesla was born in Smiljan. [1] He invented wireless telephones.", Grounding.PARTIAL),
        ("Tesla emigrated to New York. [3]", Grounding.PARTIAL),
        ("Yes. Tesla died in New York. [1]", Grounding.SUPPORTED),
        ("60% of the rainforest lies in Brazil. [2]", Grounding.SUPPORTED),
        ("61% of the rainforest lies in Brazil. [2]", Grounding.PARTIAL),
        (NOT_FOUND_TEXT, Grounding.NOT_FOUND),
        ("The provided sources don't contain any information about this.", Grounding.NOT_FOUND),
        ("I do not know. The text is about Tesla. [1]", Grounding.NOT_FOUND),
        ("There is no information about it in the passages.", Grounding.NOT_FOUND),
        ("", Grounding.NOT_FOUND),
        (" \n", Grounding.NOT_FOUND),
    ],
)
def test_an_answer_is_as_grounded_as_its_sentences(text, expected):
    assert assess("Where was he born?", text, SOURCES, FinishReason.STOP) is expected


def test_a_generator_that_found_nothing_is_believed():
    assert (
        assess("Where was Tesla born?", "Tesla died in New York. [1]", SOURCES, FinishReason.NOT_FOUND)
        is Grounding.NOT_FOUND
    )


def test_a_marker_in_code_supports_nothing():
    assert (
        assess("Where was Tesla born?", "Tesla was born in Smiljan `[1]`.", SOURCES, FinishReason.STOP)
        is Grounding.PARTIAL
    )


def test_a_cut_answer_is_judged_by_what_it_says():
    assert (
        assess("Where was Tesla born?", "Tesla was born in Smiljan. [1]", SOURCES, FinishReason.DEADLINE)
        is Grounding.SUPPORTED
    )


@pytest.mark.parametrize(
    "rule",
    [
        "The insurance document does not cover dental care.",
        "Human resources does not give references over the phone.",
        "The policy documents do not cover private travel.",
        "Text messages do not provide proof of delivery.",
        "The text of a contract\ndoesn't include\nits annexes.",
        "I cannot find my badge: whoever says so gets a new one.",
    ],
)
def test_what_a_source_denies_is_an_answer(rule):
    source = passage(1, f"Read this first. {rule} Ask if in doubt.", title="House rules")
    assert assess("Is it so?", f"{' '.join(rule.split())} [1]", [source], FinishReason.STOP) is Grounding.SUPPORTED


@pytest.mark.parametrize(
    "text",
    [
        "The policy documents do not cover private travel.",
        "The policy documents do not cover private travel. [2]",
        "The policy documents do not cover private travel. [3]",
        "The provided documents do not contain information about private travel. [1]",
        "The documents do not mention the price of private travel. [1][2]",
        "The documents do not cover dental care. [2]",
        "The sources do not answer this question. [1]",
        "I do not know. [1]",
        "There is no information about private travel in the passages. [1]",
    ],
)
def test_what_is_said_of_the_sources_is_a_refusal_whatever_it_cites(text):
    sources = (
        passage(1, "The policy documents do not cover private travel. A trip has a price.", title="Travel"),
        passage(2, "The documents cover dental care. Nobody needs to ask. They mention a price.", title="Care"),
    )
    assert assess("Is it covered?", text, sources, FinishReason.STOP) is Grounding.NOT_FOUND


CODES = (
    passage(1, "Code K10 means that the tray is empty.", title="Printer codes"),
    passage(2, "Code K4 means that paper is stuck.", title="Printer codes"),
)


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        ("What does code K10 mean?", "Code K10 means that the tray is empty. [1]", Grounding.SUPPORTED),
        ("What does code K4 mean?", "Code K10 means that the tray is empty. [1]", Grounding.PARTIAL),
        ("What does code K4 mean?", "It means that paper is stuck. [2]", Grounding.SUPPORTED),
        ("How do K4 and K10 differ?", "The tray is empty. [1] Paper is stuck. [2]", Grounding.SUPPORTED),
        ("What did it mean in 2023?", "Paper is stuck. [2]", Grounding.PARTIAL),
    ],
)
def test_an_answer_is_supported_when_what_it_cites_is_about_what_was_asked(question, text, expected):
    assert assess(question, text, CODES, FinishReason.STOP) is expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the hotel limit in Germany?", Grounding.SUPPORTED),
        ("What is the hotel limit in Portugal?", Grounding.PARTIAL),
        ("What is the German hotel limit?", Grounding.SUPPORTED),
        ("What is the hotel limit of the CFO?", Grounding.SUPPORTED),
        ("What is the CFO's hotel limit?", Grounding.SUPPORTED),
        ("What Is The Hotel Ceiling In Germany?", Grounding.SUPPORTED),
        ("Wie hoch ist die Obergrenze in Deutschland?", Grounding.SUPPORTED),
        ("What is the hotel limit for Ms. Okonkwo?", Grounding.PARTIAL),
        ("What is the hotel limit in Gemrany?", Grounding.SUPPORTED),
    ],
)
def test_a_name_that_no_cited_passage_has_makes_an_answer_partial(question, expected):
    source = passage(1, "The hotel limit in Germany is 140 EUR.", title="Travel")
    assert assess(question, f"{source.text} [1]", [source], FinishReason.STOP) is expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is a turbine's speed in the United States?", Grounding.SUPPORTED),
        ("What is a turbine's speed in the United Kingdom?", Grounding.PARTIAL),
        ("How fast is a turbine across the Atlantic?", Grounding.SUPPORTED),
        ("How fast is a turbine across the Pacific?", Grounding.PARTIAL),
    ],
)
def test_a_name_may_come_in_another_form(question, expected):
    source = passage(1, "A turbine's speed is 3600 RPM in the USA, and on transatlantic ships.", title="Turbines")
    assert assess(question, f"{source.text} [1]", [source], FinishReason.STOP) is expected


def test_another_code_of_the_series_is_no_answer():
    assert asks_for_another("What does code K5 mean?", CODES)
    assert not asks_for_another("What does code K4 mean?", CODES)
    assert not asks_for_another("What does code Z5 mean?", CODES)


GOOD = Signals(0.75, 0.80, 1.0, 0.9, 1.0)
BAD = Signals(0.20, 0.25, 0.2, 0.1, 0.0)


def test_strong_signals_answer_and_weak_ones_do_not():
    assert is_answerable(GOOD)
    assert not is_answerable(BAD)


@pytest.mark.parametrize("field", ["passage_cosine", "sentence_cosine", "passage_coverage", "name_coverage"])
def test_each_signal_moves_the_belief_its_own_way(field):
    weaker = {name: getattr(GOOD, name) for name in Signals.__slots__} | {field: 0.0}
    assert answerability(Signals(**weaker)) < answerability(GOOD)


def test_without_an_embedder_words_alone_decide():
    assert is_answerable(Signals(None, None, 1.0, 0.8, 1.0))
    assert not is_answerable(Signals(None, None, 0.2, 0.1, 0.0))


def test_without_the_dense_leg_the_sentence_stands_for_the_passage():
    assert is_answerable(Signals(None, 0.8, 1.0, 0.8, 1.0))
    assert not is_answerable(Signals(None, 0.2, 0.2, 0.1, 0.0))


def test_signals_tell_a_question_about_the_passages_from_one_about_something_else():
    about = read("Where was Nikola Tesla born?", SOURCES).signals
    other = read("What is the annual revenue of Apple?", SOURCES).signals
    assert about.passage_coverage == 1.0
    assert about.name_coverage == 1.0
    assert other.passage_coverage == 0.0
    assert other.name_coverage == 0.0


def test_a_source_that_encodes_its_marks_apart_answers_as_well():
    text = "München liegt an der Isar. Die Straßenbahn fährt über fünf Brücken."
    question = "Wie viele Brücken überquert die Straßenbahn in München?"
    apart = unicodedata.normalize("NFD", text)
    assert read(question, [passage(1, apart)]).signals == read(question, [passage(1, text)]).signals
    assert assess(question, text.replace(".", ". [1]"), [passage(1, apart)], FinishReason.STOP) is Grounding.SUPPORTED


@pytest.mark.parametrize("unit", [".", "?!", ".'", ".[1", ".:1,", "e.g. A ", "。", '."', "a. "])
def test_hostile_repetition_is_judged_in_no_time(unit):
    text = unit * (16_000 // len(unit)) + "x"
    started = time.process_time()
    assess("What is x?", text, SOURCES, FinishReason.STOP)
    assert time.process_time() - started < 2.0  # a tenth in fact; seven when every full stop is tried to the end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nikola Tesla was in:\n- New York in 1884\n- Smiljan in 1856 [1]", Grounding.SUPPORTED),
        ("Nikola Tesla was in:\n- New York in 1884\n- Vienna in 1857\n- Smiljan in 1856 [1]", Grounding.PARTIAL),
        ("Nikola Tesla was in:\n- New York in 1884 [1]\n- Smiljan in 1856\n- New York [1]", Grounding.PARTIAL),
        ("Nikola Tesla was in:\n- New York in 1884\n- Smiljan in 1856", Grounding.PARTIAL),
    ],
)
def test_the_one_marker_of_a_list_is_held_against_each_of_its_items(text, expected):
    assert assess("Where was Tesla?", text, SOURCES, FinishReason.STOP) is expected
