"""What a question asks for, told by its words, and whether a sentence holds something of that kind.

Rule 1: a sign, not a parser: a handful of English question forms; everything else is Kind.OTHER and decides nothing.
Rule 2: "when", "who" and "where" ask at the beginning, at the end, and beside what says so ("since when", "tell me
        who", "hello when is it"). Elsewhere they join: "What should I do when it rings?" asks for no date.
Rule 3: only what the question does not already say counts ("Which war of 1812?" is not answered by 1812).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from orchestrator.words import Word

__all__ = ["Kind", "answer_sign", "kind_of"]


class Kind(StrEnum):
    """What a question asks for, told by its words; decides what an answer must hold."""

    NUMBER = "number"
    DATE = "date"
    PERSON = "person"
    PLACE = "place"
    REASON = "reason"
    OTHER = "other"


_KINDS = (
    (
        Kind.NUMBER,
        r"\bhow (?:many|much|long|far|old|tall|large|big|high|fast|often|few|wide|deep|heavy)\b"
        r"|\bwhat (?:percent|number|amount|percentage|proportion|fraction|age|size|population|cost|price"
        r"|distance|rate|ratio)\b",
    ),
    (Kind.DATE, r"\bwhen\b|\b(?:what|which) (?:years?|date|day|month|century|decade|season|era|period|time)\b"),
    (
        Kind.PERSON,
        r"\bwho(?:m|se)?\b|\b(?:what|which) (?:person|man|woman|king|queen|president|author|scientist|player|actor"
        r"|director|leader|emperor|company|team|group|organi[sz]ation|people|party)\b",
    ),
    (
        Kind.PLACE,
        r"\bwhere\b|\b(?:what|which) (?:city|country|state|place|county|region|location|town|river|continent|area"
        r"|nation|building)\b",
    ),
    (Kind.REASON, r"\bwhy\b|\bwhat (?:caused|causes|reason)\b|\bfor what reason\b|\bhow come\b"),
)
_MAY_JOIN = re.compile(r"\b(?:when|who(?:m|se)?|where)\b")
_AUXILIARIES = "do|does|did|can|could|shall|should|will|would|may|might|must|is|are|was|were|has|have|had"
_ASKS_ITSELF = re.compile(rf"\b(?:what|which|how|why|{_AUXILIARIES})\b")
_ASKED_LATER = re.compile(rf", (?:what|which|how|why|who|{_AUXILIARIES})\b")
_INVERSION = re.compile(rf",| (?:{_AUXILIARIES})\b")  # "when did it", "when, if ever, did it"
_EDGES = " \"'()?!.\u00bf\u2018\u2019\u201c\u201d"
# What a word that may join asks behind, whatever comes before ...
_ASKED_BEHIND = {
    "when": re.compile(r"\b(?:since|until|till|from|by) $"),
    "where": re.compile(r"\b(?:from|to|near) $"),
    "who": re.compile(
        r"\b(?:of|to|for|from|with|by|at|in|on|about|before|after|under|against|than) $|\bnames? of (?:[\w'-]+ ){1,4}$"
    ),
}
_ASKED_TOO = re.compile(
    r"\b(?:(?:what|how|why|when|who|where) (?:and|or)|(?:tell|show) (?:me|us)|(?:you|i|we|to) know|known) $"
)
_JOINED = re.compile(r"(?:[,;:]|\b(?:and|or)) $")  # ... and behind these, when nothing asked before
_BEHIND_CHARS = 80  # how far back these look
_KIND_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)
_TIME = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december|centur\w*|decades?"
    r"|today|era|war)\b"
)
_REASON = re.compile(r"\b(?:because|due to|since|so that|in order|as a result|therefore|caus\w*|to|for)\b")
_YEAR = re.compile(r"\d{3,4}s?")
_NUMBERS = """
one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen twenty thirty forty fifty sixty
seventy eighty ninety hundred hundreds thousand thousands million billion trillion half third quarter dozen both several
twice once first second
"""
_NUMBER_WORDS = frozenset(_NUMBERS.split())


def kind_of(question: str) -> Kind:
    lower = " ".join(question.lower().split())
    asked = _without_joints(lower)
    return next((kind for kind, pattern in _KIND_PATTERNS if pattern.search(asked)), Kind.OTHER)


def _without_joints(lower: str) -> str:
    """The question without each "when", "who" and "where" that only joins."""
    first = _ASKS_ITSELF.search(lower)
    asked_from = first.start() if first else len(lower)
    return _MAY_JOIN.sub(lambda match: match.group() if _asks(match, asked_from) else "", lower)


def _asks(word: re.Match[str], asked_from: int) -> bool:
    """Whether a word that may join asks; another question word stands at `asked_from`."""
    text, start = word.string, word.start()
    before = text[max(0, start - _BEHIND_CHARS) : start]
    kind = "who" if word.group().startswith("who") else word.group()
    if not text[word.end() :].strip(_EDGES) or _ASKED_TOO.search(before) or _ASKED_BEHIND[kind].search(before):
        return True
    is_inverted = _INVERSION.match(text, word.end()) is not None
    if not text[:start].strip(_EDGES):  # "when it rings, what must I do?" joins too
        return kind == "who" or is_inverted or _ASKED_LATER.search(text, word.end()) is None
    if start > asked_from:
        return is_inverted and kind != "who"  # "people who are ill" is no question
    return is_inverted or _JOINED.search(before) is not None


def answer_sign(kind: Kind, sentence: Sequence[Word], asked: frozenset[str]) -> float:
    """How likely the sentence holds what is asked for: 1 for a clear sign, less for weaker ones, 0.5 when any would do.

    Args:
        kind: What is asked for.
        sentence: Its words, in order.
        asked: The stems of the question: no news.
    """
    fresh = [word for word in sentence if word.stem not in asked]
    match kind:
        case Kind.NUMBER:
            return _number_sign(fresh)
        case Kind.DATE:
            return _date_sign(fresh)
        case Kind.PERSON | Kind.PLACE:
            return _name_sign(fresh, sentence[:1])
        case Kind.REASON:
            return float(_REASON.search(" ".join(word.text.lower() for word in sentence)) is not None)
        case Kind.OTHER:
            return 0.5


def _number_sign(fresh: Sequence[Word]) -> float:
    if any(word.is_number for word in fresh):
        return 1.0
    return 0.8 if any(word.text.lower() in _NUMBER_WORDS for word in fresh) else 0.0


def _date_sign(fresh: Sequence[Word]) -> float:
    numbers = [word.text for word in fresh if word.is_number]
    if any(_YEAR.fullmatch(number) for number in numbers):
        return 1.0
    return 0.5 if numbers or any(_TIME.fullmatch(word.text.lower()) for word in fresh) else 0.0


def _name_sign(fresh: Sequence[Word], first: Sequence[Word]) -> float:
    """A capital at the beginning of a sentence may be a name or not: 0.7."""
    names = [word for word in fresh if word.is_capitalised and word.is_content]
    if not names:
        return 0.0
    return 1.0 if any(name is not word for name in names for word in first) else 0.7
