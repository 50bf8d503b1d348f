"""What a question names by number or code, and whether passages name it too.

Sentences about code K10 share every word but one with a question about code K4. Shares of words and cosines cannot tell
the two apart; a reader can, at a glance, and calls the answer wrong.

Rule 1: an identifier is a word with a digit in it: K4, 2.3.1, CVE-2024-1234, 1912, 5G.
Rule 2: the same one may be written in more ways than one: without case, with or without hyphens ("K-4", "k4") and
        thousands' commas, a small number as a word, a decade, ordinal or amount by its number ("1990s", "4th", "5km"),
        a version with or without its v, a longer version for the line it belongs to (2.3.1 for 2.3), and letters and
        their number with a blank between or none ("type-2", "Type 2").
Rule 3: how many is no identifier: "give me 5 reasons" names nothing, "code 5" does. The word before tells.
Rule 4: when in doubt it is there: a missing identifier makes an answer worse than it looks, never better.

Pure. Does not: resolve ranges ("K1 to K9" names no K4), sums or Roman numerals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from orchestrator.words import STOP_WORDS

__all__ = ["identifiers", "missing", "names_another"]

_TOKEN = re.compile(r"[^\W_]+(?:[.,:/_\-\u2010-\u2015][^\W_]+)*")
_HAS_DIGIT = re.compile(r"\d")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_JOINTS = re.compile(r"[,:/_\-\u2010-\u2015]")  # between the parts of a compound; a dot holds a version together
_MEASURED = re.compile(r"(\d+(?:\.\d+)*)[^\W\d_]+")  # a number and a suffix: 1990s, 4th, 5km
_PREFIXED = re.compile(r"([^\W\d_]+)(\d.*)")  # letters and what they number: k4, cve20241234
_VERSION = re.compile(r"v(\d+(?:\.\d+)*)")
_NUMBERS = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip

_BEFORE_COUNTS = STOP_WORDS | {"top", "first", "last", "next", "best", "any"}
_SMALL = frozenset(map(str, range(13)))  # more are rarely asked for: larger numbers are years, models and codes


def identifiers(text: str) -> tuple[str, ...]:
    """Each identifier once, in order, in its plainest form: lower case, no hyphens, no thousands' commas, no v."""
    found = (_plain(token) for token in _tokens(text) if _HAS_DIGIT.search(token))
    return tuple(dict.fromkeys(found))


def missing(question: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The question's identifiers that none of the texts has."""
    counts = _counts(question)
    asked = [one for one in identifiers(question) if one not in counts]
    if not asked:
        return ()
    known = _known(texts)
    return tuple(one for one in asked if known.isdisjoint(_ways(one)))


def names_another(question: str, texts: Sequence[str]) -> bool:
    """Whether the question is about one of a series (K4) of which the texts have only others (K10).

    A series is letters with different numbers behind them. Plain numbers are in none: a text about 2024 that has no
    2023 may well answer what was asked about 2023.
    """
    absent = [match for one in missing(question, texts) if (match := _PREFIXED.fullmatch(one))]
    if not absent:
        return False
    asked = set(identifiers(question))
    others = (match for text in texts for one in identifiers(text) if (match := _PREFIXED.fullmatch(one)))
    series = {match[1] for match in others if match[0] not in asked}
    return any(match[1] in series for match in absent)


def _counts(question: str) -> set[str]:
    """Small numbers that say how many are wanted."""
    words = pairwise(["", *_tokens(question)])
    return {word for before, word in words if word in _SMALL and (not before or before in _BEFORE_COUNTS)}


def _tokens(text: str) -> Iterator[str]:
    return (match.group() for match in _TOKEN.finditer(_THOUSANDS.sub("", text.lower())))


def _plain(token: str) -> str:
    bare = _JOINTS.sub("", token)
    version = _VERSION.fullmatch(bare)
    return version[1] if version else bare


def _ways(identifier: str) -> set[str]:
    """Ways of naming it that count as naming it."""
    measured = _MEASURED.fullmatch(identifier)
    return {identifier, measured[1]} if measured else {identifier}


def _known(texts: Iterable[str]) -> set[str]:
    known: set[str] = set()
    for text in texts:
        for before, token in pairwise(["", *_tokens(text)]):
            if _HAS_DIGIT.search(token):
                known.update(_names(token))
                known.update(name for joined in _joined(before, token) for name in _names(joined))
            elif token in _NUMBERS:
                known.add(_NUMBERS[token])
    return known


def _joined(before: str, token: str) -> Iterator[str]:
    """A number written to the letters before it, to each part of them: "iso/iec", "27001" name iso27001 too."""
    number = token[1:] if _VERSION.fullmatch(token) else token
    if number[0].isdigit():
        yield from (part + number for part in _JOINTS.split(before) if part.isalpha())


def _names(token: str) -> Iterator[str]:
    """Everything a token of a text names: itself, its parts, their numbers, the version lines it belongs to."""
    for part in (token, *_JOINTS.split(token)):
        plain = _plain(part)
        yield from _lines(plain)
        if measured := _MEASURED.fullmatch(plain):
            yield measured[1]
        if prefixed := _PREFIXED.fullmatch(plain):
            yield from _lines(prefixed[2])


def _lines(version: str) -> Iterator[str]:
    """2, 2.3 and 2.3.1 for 2.3.1."""
    pieces = version.split(".")
    yield from (".".join(pieces[:count]) for count in range(1, len(pieces) + 1))
