"""A question as a full-text query: its words, quoted, any of them.

What has digits and joints (4.2.0, CVE-2024-31982, 1,190) is asked for as a whole: its parts are everywhere.

XQuAD-en, 240 passages: nDCG@10 .9676 without stop words, .9656 with; .9706 once titles are indexed too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from embedding.unspaced import is_unspaced, pieces, unspaced_pieces
from retriever.search.words import MAX_TERMS, STOP_WORDS, telling_words, words_of

__all__ = ["MAX_TERMS", "STOP_WORDS", "match_expression", "other_words"]

_COMPOUND: Final = re.compile(r"[^\W_]+(?:[.,:/_-][^\W_]+)+")
_VERSION: Final = re.compile(r"(?<![^\W_])v(\d+(?:\.\d+)+)", re.IGNORECASE)
_DIGIT: Final = re.compile(r"\d")
_LEAST_PART: Final = 3  # characters of a part that is asked for by itself too: "cve" and "2024", but no "4" of "4.2.0"


def match_expression(text: str) -> str:
    """`text` as an FTS5 expression, "" when it has no word. Whatever it holds is quoted: it is never query syntax.

    A quoted compound is a phrase to the engine: its parts, one after the other.
    """
    return " OR ".join(f'"{term}"' for term in list(dict.fromkeys(_terms(text)))[:MAX_TERMS])


def _terms(text: str) -> Iterator[str]:
    compounds = [match.group().lower() for match in _COMPOUND.finditer(text) if _DIGIT.search(match.group())]
    parts = {part for compound in compounds for part in words_of(compound) if len(part) < _LEAST_PART}
    for compound in compounds:
        version = _VERSION.fullmatch(compound)
        yield version[1] if version else compound
    for word in telling_words(text) or words_of(text):
        if is_unspaced(word):
            yield from pieces(word)
        elif word not in parts:
            yield word


def other_words(text: str) -> str:
    """What the engine cuts out of `text` otherwise than a question asks for it: see `match_expression`.

    The pieces of scripts without blanks, and versions without their v: 2.30.3 in one text is v2.30.3 in the next.
    """
    return " ".join((*unspaced_pieces(text), *_VERSION.findall(text)))
