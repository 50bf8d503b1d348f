"""Counting tokens, exactly or by an estimate that says so."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from chassis.errors import SettingsInvalid
from orchestrator.tokens import EstimatedTokenCounter, FileTokenCounter
from tests.unit.orchestrator.passages import TESLA
from tests.unit.orchestrator.tokenizers import write_gemma_like


@pytest.fixture
def tokenizer_file(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(2)  # as published files often have it; counting must not stop there
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_a_tokenizer_file_counts_exactly_and_beyond_its_own_window(tokenizer_file):
    counter = FileTokenCounter(tokenizer_file)
    assert counter.count("one two one two one") == 5
    assert counter.is_estimate is False


@pytest.fixture(scope="module")
def gemma_like(tmp_path_factory):
    return FileTokenCounter(write_gemma_like(tmp_path_factory.mktemp("gemma") / "tokenizer.json"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),  # the <bos> is the engine's to add
        ("1943", 4),  # digits stand alone
        ("<start_of_turn>", 1),  # markup is the control token it looks like
        ("<start_of_turn>1<end_of_turn>2", 4),
        ("\u6f22", 3),  # not in the vocabulary: its bytes
        ("\U0001f5fa", 4),
    ],
)
def test_a_tokenizer_of_gemmas_kind_is_counted_with_as_its_engine_would(gemma_like, text, tokens):
    assert gemma_like.count(text) == tokens


def test_a_trained_tokenizer_makes_more_of_a_text_than_words_and_less_than_characters(gemma_like):
    assert len(TESLA.split()) < gemma_like.count(TESLA) < len(TESLA)


@pytest.mark.parametrize("content", ["", "not json", "{}"])
def test_a_file_that_is_no_tokenizer_is_a_settings_error_without_its_path(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(SettingsInvalid) as caught:
        FileTokenCounter(path)
    assert str(tmp_path) not in caught.value.message


def test_an_absent_tokenizer_file_is_a_settings_error(tmp_path):
    with pytest.raises(SettingsInvalid):
        FileTokenCounter(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("cat", 1),
        ("extraordinary", 3),
        ("1943", 4),
        ("a, b.", 4),
        ("one\n\ntwo", 3),
        ("\u6f22\u5b57", 2),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", 3),
    ],
)
def test_the_estimate_is_this(text, tokens):
    assert EstimatedTokenCounter().count(text) == tokens


def test_the_estimate_of_prose_lies_above_its_words_and_below_its_characters():
    count = EstimatedTokenCounter().count(TESLA)
    assert len(TESLA.split()) < count < len(TESLA) / 2
    assert EstimatedTokenCounter().is_estimate is True
