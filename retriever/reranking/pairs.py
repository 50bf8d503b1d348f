"""Question and passage as a cross-encoder reads them: one sequence, [CLS] question [SEP] passage [SEP].

Rule 1: the passage is cut where the window ends, the question before it: a question as long as the window would leave
        its passages nothing to be judged by.
Rule 2: a passage is read with the title and section it stands under, as the embedder read it.
Rule 3: "[SEP]" written in a document is five characters and no separator: documents do not steer the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from chassis.errors import SettingsInvalid
from retriever.types import LegScore, Passage

__all__ = ["PairTokenizer", "TokenPair", "reordered"]

QUESTION_TOKENS: Final = 64  # ten times a usual question
# A chunk is cut to the embedder's 256 tokens, title and section included: with the question and three special tokens
# it is whole in 384. Cross-encoders were trained with 512; more than a chunk has costs only time.
PAIR_TOKENS: Final = 384
SPECIAL_TOKENS: Final = 3  # of a pair: one before, one between, one behind
CHARS_PER_TOKEN: Final = 64  # see embedding.tokenizer: what lies beyond is blanks or one endless word


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One sequence: token ids, and 0 or 1 for the part each belongs to."""

    ids: Sequence[int]
    types: Sequence[int]


class PairTokenizer:
    """Safe to share between threads: nothing is changed after construction.

    Args:
        file: The model's tokenizer.json, whose template must know pairs (BERT's does).
    Raises:
        SettingsInvalid: it is no tokenizer, or makes no pairs.
    """

    def __init__(self, file: Path) -> None:
        self._questions = _opened(file)
        self._pairs = _opened(file)
        self._pairs.enable_truncation(PAIR_TOKENS, strategy="only_second")
        made = self._pairs.encode("a", "b")
        if 1 not in made.type_ids or sum(made.special_tokens_mask) != SPECIAL_TOKENS:
            raise SettingsInvalid("the reranker's tokenizer makes no pairs: give the tokenizer.json of a BERT model")

    def pairs(self, question: str, passages: Sequence[Passage]) -> list[TokenPair]:
        """A sequence for each passage, in order."""
        asked = self._cut(question)
        encoded = (self._pairs.encode(asked, _read(passage)) for passage in passages)
        return [TokenPair(each.ids, each.type_ids) for each in encoded]

    def _cut(self, question: str) -> str:
        ends = self._questions.encode(question[: QUESTION_TOKENS * CHARS_PER_TOKEN], add_special_tokens=False).offsets
        return question[: ends[QUESTION_TOKENS - 1][1]] if len(ends) > QUESTION_TOKENS else question


def reordered(passages: Sequence[Passage], logits: Sequence[float]) -> list[Passage]:
    """The passages by their logits, best first, equal ones as they were; each with what was said of it."""
    order = sorted(range(len(passages)), key=lambda place: -logits[place])
    return [replace(passages[place], rerank=LegScore(rank, logits[place])) for rank, place in enumerate(order, start=1)]


def _read(passage: Passage) -> str:
    return passage.chunk.embed_text[: PAIR_TOKENS * CHARS_PER_TOKEN]


def _opened(file: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as exc:  # tokenizers raises Exception itself, whatever is wrong
        raise SettingsInvalid("the reranker's tokenizer file cannot be read: give the model's tokenizer.json") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # as text, where the text has them
    return tokenizer
