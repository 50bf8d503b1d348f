"""Markers are validated in the stream; the result does not depend on how the text was cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.citations import HELD_CHARS, CitationStream, find_markers
from orchestrator.types import AnswerDelta, Citation, CitationAdded
from tests.unit.orchestrator.passages import AMAZON, TESLA, passage

SOURCES = (passage(1, TESLA, start_char=1_000), passage(2, AMAZON, start_char=7), passage(12, "Twelve is here."))

KNOWN = {source.marker for source in SOURCES}

PIECES = st.sampled_from(
    ["[1]", "[2]", "[12]", "[9]", "[1, 2]", "[1,9]", "[ 2 ]", "[10, 11, 12]", "[", "]", "1", ",", " ", "a", "He died.",
     "`", "```", "\n", "[x]", "[1[99]]", "[2019]", ". ", "(", "é"]
)  # fmt: skip  # one alphabet, read as a line
ANSWERS = st.lists(PIECES, max_size=25).map("".join)


def run(text: str, cuts: list[int] | None = None) -> tuple[list[CitationAdded | AnswerDelta], CitationStream]:
    stream = CitationStream(SOURCES)
    edges = [0, *sorted(cuts or []), len(text)]
    events: list[CitationAdded | AnswerDelta] = []
    for start, end in pairwise(edges):
        events += stream.push(text[start:end])
    return events + stream.finish(), stream


def said(events: list[CitationAdded | AnswerDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, AnswerDelta))


def citations(events: list[CitationAdded | AnswerDelta]) -> list[Citation]:
    return [event.citation for event in events if isinstance(event, CitationAdded)]


@pytest.mark.parametrize(
    ("written", "expected", "cited"),
    [
        ("He died. [1]", "He died. [1]", (1,)),
        ("He died [1].", "He died [1].", (1,)),
        ("He died[1].", "He died[1].", (1,)),
        ("Both hold. [1, 2]", "Both hold. [1][2]", (1, 2)),
        ("Both hold. [2][1]", "Both hold. [2][1]", (2, 1)),
        ("All hold. [1, 2, 12]", "All hold. [1][2][12]", (1, 2, 12)),
        ("Not one of ours. [9]", "Not one of ours.", ()),
        ("Not one of ours [9].", "Not one of ours.", ()),
        ("One of two. [9, 2]", "One of two. [2]", (2,)),
        ("Twice. [1] Twice. [1]", "Twice. [1] Twice. [1]", (1,)),
        ("The same twice [1, 1].", "The same twice [1].", (1,)),
        ("A letter [x] and a year [2019] pass.", "A letter [x] and a year [2019] pass.", ()),
        ("A range [1-2] passes.", "A range [1-2] passes.", ()),
        ("An open one [1", "An open one [1", ()),
        ("Double [[1]] holds.", "Double [[1]] holds.", (1,)),
        ("Nothing left closes up: [1[99]]", "Nothing left closes up: [1 ]", ()),
        (
            "Zero [0] and `a[1]`, a[0] and [0, 1] are text. [1]",
            "Zero [0] and `a[1]`, a[0] and [0, 1] are text. [1]",
            (1,),
        ),
        ("One list of two: [2, 0].", "One list of two: [2, 0].", ()),
        ("```\na[1]\n```\n[2]", "```\na[1]\n```\n[2]", (2,)),
        ("In code `a[1]` it stays, here [1].", "In code `a[1]` it stays, here [1].", (1,)),
        ("```\na[9] = b[1]\n```\nDone. [2]", "```\na[9] = b[1]\n```\nDone. [2]", (2,)),
        ("A lone ` ends with its line [9].\nNext [1].", "A lone ` ends with its line [9].\nNext [1].", (1,)),
        ("", "", ()),
    ],
)
def test_markers_are_what_the_sources_allow(written, expected, cited):
    events, stream = run(written)
    assert (said(events), stream.text, stream.cited_markers) == (expected, expected, cited)


@given(ANSWERS, st.data())
def test_any_cut_of_the_text_gives_the_same_answer(text, data):
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    whole, cut, single = run(text), run(text, cuts), run(text, list(range(len(text))))
    for events, stream in (cut, single):
        assert said(events) == said(whole[0])
        assert citations(events) == citations(whole[0])
        assert stream.cited_markers == whole[1].cited_markers


@given(ANSWERS, st.data())
def test_every_marker_a_reader_sees_was_announced_before_its_delta(text, data):
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    announced: set[int] = set()
    quotes: set[tuple[int, int]] = set()
    seen = ""
    for event in run(text, cuts)[0]:
        if isinstance(event, CitationAdded):
            assert (event.citation.marker, event.citation.start_char) not in quotes
            quotes.add((event.citation.marker, event.citation.start_char))
            announced.add(event.citation.marker)
        else:
            assert event.text
            seen += event.text
            assert {marker.number for marker in find_markers(seen)} <= announced
    assert {marker.number for marker in find_markers(seen)} == announced


@given(ANSWERS)
def test_every_quote_is_in_the_document_at_its_offsets(text):
    by_marker = {source.marker: source for source in SOURCES}
    for citation in citations(run(text)[0]):
        source = by_marker[citation.marker]
        start = citation.start_char - source.start_char
        assert citation.quote
        assert source.text[start : citation.end_char - source.start_char] == citation.quote


@given(st.lists(st.sampled_from(["[1]", "[x", "[12", "[2]", "[1][", " ", "a", "1", ",", "```", "]"]), max_size=25))
def test_at_most_a_marker_is_held_back(pieces):
    stream = CitationStream(SOURCES)
    pushed = out = ""
    for piece in pieces:
        pushed += piece
        out += said(stream.push(piece))
        # What was dropped for naming no source is not held: "[121]" is gone, and with it nothing of what follows.
        dropped = {(marker.start, marker.end) for marker in find_markers(pushed) if marker.number not in KNOWN}
        decided = len(out) + sum(end - start for start, end in dropped)
        assert not pushed.startswith(out) or len(pushed) - decided <= HELD_CHARS


def test_no_delta_holds_half_a_marker():
    stream = CitationStream(SOURCES)
    deltas = [said(stream.push(piece)) for piece in ("He died", ". ", "[", "1", "]", " Yes")]
    assert deltas == ["He died", ".", "", "", " [1]", " Yes"]


@pytest.mark.parametrize(
    ("written", "quote"),
    [
        ("Tesla came to New York in 1884. [1]", "He emigrated to New York in 1884."),
        ("Tesla was a man. He died in January 1943. [1]", "Tesla died in New York on 7 January 1943."),
        ("He died in 1943 [1].", "Tesla died in New York on 7 January 1943."),
        (
            "He emigrated to New York, where he worked for Edison for six months. [1]",
            "He emigrated to New York in 1884. There he worked for Thomas Edison for six months.",
        ),
        ("Completely unrelated. [1]", "Nikola Tesla was born in the village of Smiljan in 1856."),
        ("[1]", "Nikola Tesla was born in the village of Smiljan in 1856."),
    ],
)
def test_a_quote_is_what_supports_the_sentence_its_marker_closes(written, quote):
    [citation] = citations(run(written)[0])
    assert citation.quote == quote
    assert citation.start_char == 1_000 + TESLA.index(quote)


def test_a_heading_that_is_said_itself_is_quoted_and_not_what_it_heads():
    source = passage(1, "## 4.2.0 - 2024-09-02\n\n- Added 4.2.0 of 2024-09-02: MQTT.")
    stream = CitationStream([source])
    [citation] = citations([*stream.push("4.2.0 - 2024-09-02 [1]"), *stream.finish()])
    assert citation.quote == "## 4.2.0 - 2024-09-02"


def test_each_of_several_clauses_gets_its_own_quote():
    first, second = citations(run("The basin has 7,000,000 square kilometres [2], and Tesla emigrated [1].")[0])
    assert first.quote == "The basin encompasses 7,000,000 square kilometres."
    assert second.quote == "He emigrated to New York in 1884."


def test_a_second_use_brings_its_own_quote_and_a_third_of_the_same_words_none():
    events, stream = run("He emigrated in 1884 [1]. He died in 1943 [1]. He died on 7 January [1].")
    assert [citation.quote for citation in citations(events)] == [
        "He emigrated to New York in 1884.",
        "Tesla died in New York on 7 January 1943.",
    ]
    assert stream.cited_markers == (1,)


def test_a_citation_carries_everything_its_source_knows():
    source = passage(3, "It is so.", start_char=5, title="T", section="A > B", page=4, uri="u", source="s")
    stream = CitationStream([source])
    [citation] = citations(stream.push("It is so. [3]"))
    assert (citation.title, citation.section, citation.page, citation.uri, citation.source) == (
        "T",
        "A > B",
        4,
        "u",
        "s",
    )
    assert (citation.document_id, citation.chunk_id) == ("doc-3", "chunk-3")
