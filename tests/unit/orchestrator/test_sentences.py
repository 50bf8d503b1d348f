"""Sentences are spans of the text they come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sentences import MAX_SENTENCE_CHARS, sentences

MARKS = st.text(alphabet=st.sampled_from("aB1. !?\n-#|`。\t,;\"'()[]…é漢"), max_size=400)


def split(text: str) -> list[str]:
    return [text[one.start : one.end] for one in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there.", ["One here.", "Two there."]),
        ("Is it? It is! Good.", ["Is it?", "It is!", "Good."]),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("Dr. Smith met Mr. J. Brown. They spoke.", ["Dr. Smith met Mr. J. Brown.", "They spoke."]),
        ("He lives in the U.S. In 1990 he came.", ["He lives in the U.S.", "In 1990 he came."]),
        ("It is the U.S. Army that came.", ["It is the U.S. Army that came."]),
        ("See e.g. this one, i.e. that.", ["See e.g. this one, i.e. that."]),
        ("It grew by 3.5 per cent. Then no more.", ["It grew by 3.5 per cent.", "Then no more."]),
        ("It is known.[12] The rest is not.", ["It is known.[12]", "The rest is not."]),
        ("A line that\nis wrapped. Next.", ["A line that\nis wrapped.", "Next."]),
        ("No stop here\n\nA paragraph", ["No stop here", "A paragraph"]),
        ("- first\n- second", ["first", "second"]),
        ("1. first\n2. second", ["first", "second"]),
        ("all lower case. so is this.", ["all lower case.", "so is this."]),
        ("这是一句。那是一句。", ["这是一句。", "那是一句。"]),
        ("Ask Ms. Lee (ext. 4471). She knows.", ["Ask Ms. Lee (ext. 4471).", "She knows."]),
        ("Site | Open\nSite: Lyon; Open: 9\nSite: Ulm", ["Site | Open", "Site: Lyon; Open: 9", "Site: Ulm"]),
        ("port: 80\nname: hub\n", ["port: 80", "name: hub"]),
        ("2024-08-01 INFO up\n2024-08-01T10:00 WARN disk", ["2024-08-01 INFO up", "2024-08-01T10:00 WARN disk"]),
        ("It has one rule\nnamed first: never.", ["It has one rule\nnamed first: never."]),
        ("", []),
        (" \n\n \n", []),
    ],
)
def test_a_text_falls_into_its_sentences(text, expected):
    assert split(text) == expected


def test_a_heading_is_marked_and_stands_alone():
    text = "# The cache\nIt holds answers.\n## Keys\nThey are hashed."
    assert [(text[one.start : one.end], one.is_heading) for one in sentences(text)] == [
        ("# The cache", True),
        ("It holds answers.", False),
        ("## Keys", True),
        ("They are hashed.", False),
    ]


def test_a_dump_without_a_stop_is_cut_into_bounded_pieces():
    pieces = split("word " * 1_000)
    assert len(pieces) > 1
    assert all(len(piece) <= MAX_SENTENCE_CHARS for piece in pieces)
    assert "".join(pieces).count("word") == 1_000


@given(MARKS)
def test_spans_are_ordered_disjoint_trimmed_and_bounded(text):
    end = 0
    for one in sentences(text):
        assert end <= one.start < one.end <= len(text)
        assert text[one.start : one.end] == text[one.start : one.end].strip()
        assert one.end - one.start <= MAX_SENTENCE_CHARS
        end = one.end


@given(MARKS)
def test_no_letter_lies_outside_every_sentence(text):
    inside = "".join(text[one.start : one.end] for one in sentences(text))
    assert [char for char in inside if char.isalpha()] == [char for char in text if char.isalpha()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The timebox is 250 ms. A late leg is dropped.", ["The timebox is 250 ms.", "A late leg is dropped."]),
        ("We met Ms. Lee there. She left.", ["We met Ms. Lee there.", "She left."]),
        ("It asks a question. `make up` ends then.", ["It asks a question.", "`make up` ends then."]),
    ],
)
def test_a_unit_ends_a_sentence_and_code_begins_one(text, said):
    assert [text[found.start : found.end] for found in sentences(text)] == said


@pytest.mark.parametrize(
    "text",
    [
        "Am 3. Oktober 1990 wurde Deutschland vereinigt.",
        "Am\n3. Oktober 1990 wurde Deutschland vereinigt.",
        "15. Mai 2024: Die Frist endet.",
        "Der 1. Vorsitzende leitet den Verein.",
        "Das war im 19. Jahrhundert so.",
        "See Art. 17 of the GDPR and p. 12 of the annex.",
        "Es gilt Art. 5 Abs. 2 und Art. IV.",
        "It holds max. 80 bar and min. 3 bar.",
        "It is in Bldg. 4 of the Dept. Street side.",
        "Das sind z. B. Hunde, d.h. Tiere, vgl. Kapitel 2.",
        "Fragen Sie Hr. Lang.",
    ],
)
def test_a_stop_that_belongs_to_its_word_or_number_ends_nothing(text):
    assert split(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It began in 1990. The rest is known.", ["It began in 1990.", "The rest is known."]),
        ("There were 12. Most of them left.", ["There were 12.", "Most of them left."]),
        ("I am 25. My sister is 30. Bob is 7.", ["I am 25.", "My sister is 30.", "Bob is 7."]),
        ("Die Frist endet am 3. Die Gebühr bleibt.", ["Die Frist endet am 3.", "Die Gebühr bleibt."]),
        ("Er kam auf Platz 3. Danach ging er.", ["Er kam auf Platz 3.", "Danach ging er."]),
        ("She studied art. Later she taught.", ["She studied art.", "Later she taught."]),
        ("It is at its max. Later it falls.", ["It is at its max.", "Later it falls."]),
        ("Hunde, Katzen usw. Die Liste ist lang.", ["Hunde, Katzen usw.", "Die Liste ist lang."]),
        ("Sales rose to\n25. Further growth came.", ["Sales rose to\n25.", "Further growth came."]),
    ],
)
def test_a_number_or_a_word_before_a_new_sentence_ends_one(text, expected):
    assert split(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Steps\n1. Open it\n2. Close it",
        "Steps:\n1) Open it\n2) Close it",
        "Steps\n\n1. Open it\n\n2. Close it",
        "Steps\n1. Open\nit\n2. Close it",
        "# Steps\n1. Open it\n2. Close it",
        "Steps.\n1. Open it.\n2. Close it",
    ],
)
def test_a_numbered_line_after_what_ends_or_in_its_turn_is_an_item(text):
    assert len(split(text)) == 3
    assert split(text)[-1] == "Close it"
