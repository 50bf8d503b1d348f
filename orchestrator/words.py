"""The lexical view of a text: words, their stems, and which of them carry meaning.

Rule 1: a stem only has to meet its own inflections ("allies", "allied", "ally"); it need not be a word. Over-stemming
        is cheaper here than under-stemming: stems are compared within a handful of passages, not a corpus.
Rule 2: no frequency table ships with the project. What is rare is told from the passages at hand, or from the shape of
        a word: long words, names and numbers are rare in any corpus, the STOP_WORDS frequent in any.
Rule 3: a letter and its marks are one letter, however the text encodes them (some PDFs and systems write o and a mark
        for ö). Words are composed (NFC).
Rule 4: words of other scripts are compared as they are; of a script without blanks, pairs of its signs are the words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from embedding.unspaced import is_function, is_unspaced, pieces

__all__ = ["STOP_WORDS", "Word", "content_stems", "rarity", "stem", "words"]

# Letters and digits, the marks that stand behind one and are left when it has been composed, and apostrophes inside.
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*|['\u2019][^\W_]+)*")

# The closed classes of English (articles, pronouns, auxiliaries, prepositions, conjunctions, question words), and verbs
# that only ask ("name", "list", "explain").
_CLOSED_CLASSES = """
a about above after again against all also am an and any are as at be because been before being below between both but
by can could did do does doing down during each few for from further had has have having he her here hers him his how
i if in into is it its itself just me more most my no nor not now of off on once only or other our out over own s same
she should so some such t than that the their them then there these they this those through to too under until up us
very was we were what when where which while who whom whose why will with would you your many much kind type name give
tell list describe explain
"""
STOP_WORDS = frozenset(_CLOSED_CLASSES.split())

# After the plural is gone. Longest first within a family: the first that fits is cut.
_SUFFIXES = (
    ("ational", "ate"), ("ization", "ize"), ("isation", "ize"), ("iveness", "ive"), ("fulness", "ful"), ("ingly", ""),
    ("edly", ""), ("ment", ""), ("ation", "ate"), ("ity", ""), ("iest", "y"), ("ied", "y"), ("ion", ""), ("ing", ""),
    ("ed", ""), ("ed", "e"), ("er", ""), ("est", ""), ("ly", ""), ("al", ""), ("ive", ""), ("e", ""),
)  # fmt: skip  # a table reads better in rows than one pair per line
_SIBILANTS = ("ss", "x", "zz", "ch", "sh")
_VOWELS = frozenset("aeiouy")
_MIN_STEM = 3  # "red" must not become "r", nor "using" "us"
_RARE_LENGTH = 8  # a word's length says how rare it is up to here; beyond it only how long it is


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    stem: str

    @property
    def is_content(self) -> bool:
        if not self.text.isascii() and is_function(self.text):
            return False
        return self.text.lower() not in STOP_WORDS and self.stem not in STOP_WORDS

    @property
    def is_capitalised(self) -> bool:
        return self.text[0].isupper()

    @property
    def is_number(self) -> bool:
        return self.text[0].isdigit()


def words(text: str) -> list[Word]:
    """The words of `text` in order; punctuation and underscores separate them."""
    found = []
    for match in _WORD.findall(text if text.isascii() else unicodedata.normalize("NFC", text)):
        parts = pieces(match) if not match.isascii() and is_unspaced(match) else (match,)
        found += [Word(part, stem(part)) for part in parts]
    return found


def content_stems(text_words: Iterable[Word]) -> frozenset[str]:
    return frozenset(word.stem for word in text_words if word.is_content)


def stem(word: str) -> str:
    """A key that inflections of one English word share; other words are only lower-cased."""
    lower = word.lower().removesuffix("'s").removesuffix("\u2019s")
    if len(lower) <= _MIN_STEM or lower[0].isdigit():
        return lower
    singular = _singular(lower)
    for suffix, rest in _SUFFIXES:
        if singular.endswith(suffix) and _is_stem(head := singular[: len(singular) - len(suffix)], rest):
            return _levelled(head + rest)
    return _levelled(singular)


def _singular(lower: str) -> str:
    if lower.endswith("ies"):
        return lower[:-3] + "y" if len(lower) > _MIN_STEM + 1 else lower[:-1]
    if lower.endswith("es") and lower[:-2].endswith(_SIBILANTS):
        return lower[:-2]
    return lower if lower.endswith(("ss", "us", "is")) else lower.removesuffix("s")


def _is_stem(head: str, rest: str) -> bool:
    """Long enough, with a vowel of its own ("string" is no form of "str") and not cut in "ee" ("need")."""
    return (
        len(head) + len(rest) >= _MIN_STEM and not _VOWELS.isdisjoint(head) and not (rest != "y" and head.endswith("e"))
    )


def _levelled(cut: str) -> str:
    """Take out what cutting leaves uneven: a doubled consonant ("stopp"), a silent e, y for i."""
    if len(cut) > _MIN_STEM and cut[-1] == cut[-2] and cut[-1] not in "aeiou":
        cut = cut[:-1]
    if cut.endswith("e") and len(cut) > _MIN_STEM + 1:
        cut = cut[:-1]
    return cut[:-1] + "i" if cut.endswith("y") and len(cut) > _MIN_STEM else cut


def rarity(stem_: str) -> float:
    """How much finding this stem says, without a corpus to count in: 1 to 8, by length (Zipf's law of abbreviation)."""
    return float(min(len(stem_), _RARE_LENGTH))
