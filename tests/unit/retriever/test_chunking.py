"""Chunks are stretches of the text, by structure and size; nothing is lost, nothing exceeds the model's window."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import DocumentTooLarge
from retriever.documents import ParsedDocument, TextBlock
from retriever.ingest import chunking
from retriever.ingest.chunking import DEFAULT_POLICY, ChunkingPolicy, chunk
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.markdown import parse_markdown
from retriever.ingest.tokens import CHARS_PER_TOKEN, EstimatedSpans


class LettersAsTokens:
    """Like WordPiece where it hurts: a short word is one token per letter, a long one is given up on as one token."""

    GIVES_UP_CHARS = 30

    def spans(self, text: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for word in re.finditer(r"\S+", text):
            if len(word[0]) > self.GIVES_UP_CHARS:
                found.append(word.span())
            else:
                found += [(at, at + 1) for at in range(*word.span())]
        return found

    def count(self, text: str) -> int:
        return len(self.spans(text))


def test_a_document_of_too_many_rows_is_refused_before_it_holds_a_thread_for_minutes(monkeypatch):
    monkeypatch.setattr(chunking, "MAX_UNITS", 50)
    parsed = parse_markdown("\n\n".join("7" for _ in range(50)), ParseLimits())
    assert chunk(parsed, title="", tokens=None)
    with pytest.raises(DocumentTooLarge, match="more than 50 sentences and rows: split it"):
        chunk(parse_markdown("\n\n".join("7" for _ in range(51)), ParseLimits()), title="", tokens=None)


SMALL = ChunkingPolicy(
    target_tokens=20, max_tokens=30, overlap_tokens=8, merge_below_tokens=5, context_tokens=8, window_tokens=40
)
PROSE = st.lists(st.text(st.sampled_from("abc .!?\n#-|`é漢\u200b"), max_size=40) | st.text(max_size=20), max_size=12)
TOKENS = st.sampled_from([EstimatedSpans(), LettersAsTokens()])


def document(text: str, *blocks: TextBlock) -> ParsedDocument:
    return ParsedDocument(text, blocks, "", "text/plain")


def markdown(text: str) -> ParsedDocument:
    return parse_markdown(text, ParseLimits())


def texts(parsed: ParsedDocument, policy: ChunkingPolicy = DEFAULT_POLICY) -> list[str]:
    drafts = chunk(parsed, title="", tokens=None, policy=policy)
    return [parsed.text[draft.start_char : draft.end_char] for draft in drafts]


@given(PROSE, TOKENS)
def test_chunks_hold_every_character_that_is_not_white(parts, tokens):
    text = " ".join(parts)
    covered = [char.isspace() for char in text]
    for draft in chunk(document(text), title="", tokens=tokens, policy=SMALL):
        covered[draft.start_char : draft.end_char] = [True] * (draft.end_char - draft.start_char)
    assert all(covered)


@given(PROSE, TOKENS, st.text(max_size=60))
def test_chunks_are_trimmed_stretches_within_the_window(parts, tokens, title):
    text = " ".join(parts)
    for draft in chunk(document(text), title=title, tokens=tokens, policy=SMALL):
        body = text[draft.start_char : draft.end_char]
        assert body == body.strip() != ""
        assert draft.embed_text.endswith(body)
        assert tokens.count(draft.embed_text) <= SMALL.window_tokens
        assert len(body) <= SMALL.max_tokens * (CHARS_PER_TOKEN + 256)


@given(PROSE, st.text(max_size=30))
def test_the_same_text_gives_the_same_chunks(parts, title):
    parsed = document("\n\n".join(parts))
    assert chunk(parsed, title=title, tokens=None) == chunk(parsed, title=title, tokens=None)


@given(PROSE)
def test_chunks_are_in_order_and_start_at_different_places(parts):
    drafts = chunk(document("\n".join(parts)), title="", tokens=None, policy=SMALL)
    starts = [draft.start_char for draft in drafts]
    assert starts == sorted(set(starts))


def test_a_blank_text_has_no_chunks():
    assert chunk(document(" \n\t "), title="t", tokens=None) == []


def test_a_short_document_is_one_chunk():
    assert texts(markdown("# Leave\n\nYou have 25 days.")) == ["# Leave\n\nYou have 25 days."]


def test_a_section_of_some_size_begins_a_chunk_and_names_its_path():
    parsed = markdown("# Leave\n\n" + "Rest matters a lot. " * 12 + "\n\n## Sick leave\n\n" + "Call us early. " * 12)
    drafts = chunk(parsed, title="", tokens=None)
    assert [draft.section for draft in drafts] == ["Leave", "Leave > Sick leave"]
    assert parsed.text[drafts[1].start_char :].startswith("## Sick leave")


def test_small_sections_share_a_chunk_and_the_path_they_have_in_common():
    drafts = chunk(markdown("# A\n\n## B\n\none.\n\n## C\n\ntwo."), title="", tokens=None)
    assert [draft.section for draft in drafts] == ["A"]


def test_a_chunk_never_crosses_a_page():
    parsed = document("one page\ntwo page", TextBlock("paragraph", 0, 8, page=1), TextBlock("paragraph", 9, 17, page=2))
    drafts = chunk(parsed, title="", tokens=None)
    assert [(draft.page, parsed.text[draft.start_char : draft.end_char]) for draft in drafts] == [
        (1, "one page"),
        (2, "two page"),
    ]


def test_borders_fall_between_sentences_and_the_last_one_is_repeated():
    sentences = [f"Sentence number {number:02} says so." for number in range(12)]
    policy = replace(SMALL, target_tokens=40, max_tokens=60, overlap_tokens=12, window_tokens=90)
    found = texts(document(" ".join(sentences)), policy)
    assert len(found) > 1
    assert all(piece.startswith("Sentence") and piece.endswith("so.") for piece in found)
    assert all(after.startswith(before[-len(sentences[0]) :]) for before, after in pairwise(found))


def test_abbreviations_and_initials_do_not_end_a_sentence():
    policy = ChunkingPolicy(target_tokens=6, max_tokens=14, overlap_tokens=0, context_tokens=0)
    assert texts(document("Dr. J. Smith met Mr. Ray. They left."), policy) == [
        "Dr. J. Smith met Mr. Ray.",
        "They left.",
    ]


@pytest.mark.parametrize("word", ["x" * 20_000, "漢" * 5_000, "\u200b" * 9_000])
def test_an_endless_word_is_cut_into_bounded_chunks(word):
    found = texts(document(word))
    assert "".join(found) == word
    assert max(map(len, found)) <= DEFAULT_POLICY.max_tokens * CHARS_PER_TOKEN


def test_title_and_section_stand_before_the_chunk_to_embed_but_never_twice():
    parsed = markdown("# Leave\n\n" + "Rest matters a lot. " * 12 + "\n\n## Sick leave\n\n" + "Call us early. " * 12)
    first, second = chunk(parsed, title="Leave", tokens=None)
    assert first.embed_text.startswith("# Leave")
    assert second.embed_text.startswith("Leave\n## Sick leave")


def test_a_long_title_is_cut_so_that_the_chunk_is_not():
    parsed = document("word " * 150)
    [draft] = chunk(parsed, title="title " * 200, tokens=None)
    assert draft.embed_text.endswith(parsed.text.strip())
    assert EstimatedSpans().count(draft.embed_text) <= DEFAULT_POLICY.window_tokens


def test_a_paragraph_that_is_styled_as_a_heading_is_not_kept_whole_with_each_chunk():
    text = "word " * 20_000
    parsed = ParsedDocument(text, (TextBlock("heading", 0, len(text), level=1),), "", "text/markdown")
    drafts = chunk(parsed, title="", tokens=None)
    assert len(drafts) > 10
    assert {len(draft.section) for draft in drafts} == {512}
