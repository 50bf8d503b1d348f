"""Scripts written without blanks (Chinese, Japanese): their runs as overlapping pairs of signs.

A run of them is a sentence, not a word, so comparing runs finds nothing. Pairs need no dictionary and no model, and
whoever asks for a word of two signs or more asks for pairs that its sentence has. What the lexical index and the
reading of sentences share, so that both see the same words.

Does not: tell words apart, or know Thai, Lao, Khmer and Burmese, whose marks stand between letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Iteration marks, kana, CJK ideographs with their extensions, half-width kana.
_SIGNS: Final = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Hiragana, which inflects and joins, and the commonest Chinese signs that only ask or join.
_FUNCTION: Final = re.compile(
    "[\u3040-\u309f]+|.?[\u7684\u662f\u4e86\u5417\u5462\u4e48\u4ec0\u8c01\u54ea\u51e0\u591a\u600e].?"
)
_SIGN: Final = re.compile(f"[{_SIGNS}]")
_PIECE: Final = re.compile(f"(?P<run>[{_SIGNS}]+)|[^\\W_{_SIGNS}]+")
_WORD: Final = re.compile(r"[^\W_]+")


def is_unspaced(word: str) -> bool:
    """Whether `word` has a sign of such a script."""
    return _SIGN.search(word) is not None


def pieces(word: str) -> Iterator[str]:
    """What a word with such signs is made of: the pairs of every run (a sign that stands alone is itself), and the
    letters and digits between them."""
    for match in _PIECE.finditer(word):
        part = match.group()
        if match["run"] is None or len(part) == 1:
            yield part
            continue
        for index in range(len(part) - 1):
            yield part[index : index + 2]


def is_function(piece: str) -> bool:
    """Whether a piece says nothing by itself: what stop words are elsewhere."""
    return _FUNCTION.fullmatch(piece) is not None


def unspaced_pieces(text: str) -> Iterator[str]:
    """The pieces of every word of `text` that has such signs, in order."""
    for match in _WORD.finditer(text):
        if is_unspaced(match.group()):
            yield from pieces(match.group())
