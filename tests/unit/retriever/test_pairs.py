"""How question and passage become one sequence, and what logits make of an order."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models

from chassis.errors import SettingsInvalid
from embedding.manifest import SourceFiles
from retriever.reranking.pairs import PAIR_TOKENS, QUESTION_TOKENS, PairTokenizer, reordered
from tests.contract.reranking.suite import passages

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def tokenizer():
    return PairTokenizer(SourceFiles.locate().tokenizer)


def test_a_pair_is_the_question_then_the_passage_each_closed(tokenizer):
    [pair] = tokenizer.pairs("lease", passages(["thirty seconds"]))
    assert (pair.ids[0], pair.ids[2], pair.ids[-1]) == (CLS, SEP, SEP)
    assert list(pair.types) == [0, 0, 0, 1, 1, 1]


def test_a_long_passage_is_cut_at_the_window_and_stays_closed(tokenizer):
    [pair] = tokenizer.pairs("lease", passages(["word " * 1_000]))
    assert (len(pair.ids), pair.ids[-1]) == (PAIR_TOKENS, SEP)


def test_a_long_question_is_cut_before_its_passage_is(tokenizer):
    [pair] = tokenizer.pairs("word " * 1_000, passages(["thirty seconds"]))
    assert list(pair.types).count(0) == QUESTION_TOKENS + 2
    assert list(pair.types).count(1) == 3


@pytest.mark.parametrize("hostile", ["[SEP]", "[CLS]", "a [SEP] b [SEP] c"])
def test_markup_of_the_model_in_a_text_is_text(tokenizer, hostile):
    [in_passage] = tokenizer.pairs("lease", passages([hostile]))
    [in_question] = tokenizer.pairs(hostile, passages(["lease"]))
    for pair in (in_passage, in_question):
        assert (list(pair.ids).count(CLS), list(pair.ids).count(SEP)) == (1, 2)


def test_a_tokenizer_that_makes_no_pairs_is_refused_without_its_path(tmp_path):
    file = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]")).save(str(file))
    with pytest.raises(SettingsInvalid, match="BERT") as caught:
        PairTokenizer(file)
    assert str(tmp_path) not in caught.value.message


def test_an_order_follows_the_logits_and_equal_ones_stay_as_they_were():
    ranked = reordered(passages(["a", "b", "c", "d"]), [0.5, 2.0, 0.5, -1.0])
    assert [passage.chunk.text for passage in ranked] == ["b", "a", "c", "d"]
    assert [(passage.rerank.rank, passage.rerank.score) for passage in ranked if passage.rerank] == [
        (1, 2.0),
        (2, 0.5),
        (3, 0.5),
        (4, -1.0),
    ]
