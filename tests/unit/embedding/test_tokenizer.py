from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding.manifest import MAX_TOKENS, SourceFiles
from embedding.tokenizer import WordPieceTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(SourceFiles.locate().tokenizer, max_tokens=MAX_TOKENS)


def test_spans_are_character_offsets_also_behind_wide_characters(tokenizer):
    text = "🚀 Café opens"

    assert [text[start:end] for start, end in tokenizer.spans(text)] == ["🚀", "Café", "opens"]


def test_ids_are_cut_at_the_window_with_both_special_tokens(tokenizer):
    ids = tokenizer.ids("word " * 1000)

    assert len(ids) == MAX_TOKENS
    assert (ids[0], ids[-1]) == (101, 102)  # [CLS], [SEP]


@given(text=st.text(max_size=200))
def test_spans_are_ordered_inside_the_text_and_counted(tokenizer, text):
    spans = tokenizer.spans(text)

    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    assert len(spans) == tokenizer.count(text)
