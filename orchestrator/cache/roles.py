"""Who does what to whom, as far as English shows it by small words: "from A to B" is not "to A from B".

Rule 1: a word that both questions have stands behind the same preposition in both, or behind ones that may replace
        each other ("the fee for X", "the fee of X").
Rule 2: a verb that both have is active in both or passive in both, and of the same tense; an agent ("by") is in both or
        in neither.
Rule 3: "I call you" is not "you call me", nor "who do I call" "who calls me".

No parser: what stands next to what is all that is read. Whatever reads the same here may still differ in word order,
which the guard compares too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.cache.polarity import word_list

_PREPOSITIONS: Final = {word: word for word in word_list("from to by about for with of in on at")} | {
    "into": "to",
    "as": "in",  # "export as CSV"
}
_BARE: Final = ""  # no preposition
# "of", "in", "on" and "at" may replace one another, and stand or not. "to" also begins an infinitive: "is it safe to
# stop it" is "can I safely stop it".
_REPLACEABLE: Final = frozenset(
    frozenset(pair.split("-"))
    for pair in word_list("of- in- on- at- of-in of-on of-at in-on in-at on-at to- to-with")
    + word_list("for-of for-in for-on for-at with-of with-in with-on with-at about-of about-in about-on about-at")
)
_STRANDED: Final = frozenset(word_list("from by about for with"))  # "where is Anna from?" is not "where is Anna?"

# Whom a preposition may stand before without more: "is it good for people" is "is it good".
_ANYONE: Final = frozenset(word_list("people someone somebody anyone one it them myself yourself"))
_DOING: Final = frozenset(
    word_list("do doing be being use using make making get getting find finding take go going give have having become")
)

_BE: Final = frozenset(
    word_list("is are was were be been being am get gets got getting what's it's i'm you're we're they're")
)
_TELLING: Final = frozenset(word_list("tell give help let show"))  # "tell me" only asks; "call me" does not
_OBJECT: Final = frozenset(word_list("me us"))
_CASES: Final = dict.fromkeys(word_list("i we i'm i've we're we've"), "subject") | dict.fromkeys(_OBJECT, "object")
_OWNERS: Final = frozenset(word_list("my our mine ours your yours"))
_PERSONS: Final = dict.fromkeys((*_CASES, *_OWNERS), "speaker") | dict.fromkeys(
    word_list("you you're you've your yours"), "addressee"
)


@dataclass(frozen=True, slots=True)
class Roles:
    """What the small words of one question say of its other words."""

    behind: dict[str, frozenset[str]]  # stem: the prepositions it stands behind
    stranded: frozenset[str]
    forms: dict[str, frozenset[str]]  # stem: "passive", "past", "plain"
    has_agent: bool
    persons: tuple[str, ...]  # in the order of their first pronouns
    actors: tuple[str, ...]  # of "I", "me", "you"
    owners: tuple[str, ...]  # of "my", "your"
    cases: frozenset[str]  # of the speaker's pronouns: "subject", "object"


def read_roles(words: Sequence[str], stems: Sequence[str]) -> Roles:
    """The roles in a question.

    Args:
        words: All of it, in small letters.
        stems: One for each word; empty for a light one.
    """
    behind, stranded = _governed(words, stems)
    pronouns = [(before, word) for before, word, stem in zip(["", *words], words, stems, strict=False) if not stem]
    pronouns = [(before, word) for before, word in pronouns if word not in _OBJECT or before not in _TELLING]
    return Roles(
        behind=behind,
        stranded=stranded,
        forms=_forms(words, stems),
        has_agent=any(word == "by" for word, _ in _without_idioms(words, stems)),
        persons=_persons(word for _, word in pronouns),
        actors=_persons(word for _, word in pronouns if word not in _OWNERS),
        owners=_persons(word for _, word in pronouns if word in _OWNERS),
        cases=frozenset(_CASES[word] for before, word in pronouns if word in _CASES and before != "for"),
    )


def have_same_roles(a: Roles, b: Roles) -> bool:
    return (
        a.has_agent == b.has_agent
        and a.stranded == b.stranded
        and not (len(a.persons) == len(b.persons) == 2 and a.persons != b.persons)
        and _have_same_owners(a, b)
        and not (len(a.cases) == len(b.cases) == 1 and a.cases != b.cases)
        and all(a.forms[stem] == b.forms[stem] for stem in a.forms.keys() & b.forms.keys())
        and all(_may_replace(a.behind[stem], b.behind[stem]) for stem in a.behind.keys() & b.behind.keys())
    )


def _have_same_owners(a: Roles, b: Roles) -> bool:
    """ "My" may be "your" only where "I" is "you" too: "do I reset my password", "do you reset your password"."""
    if not (a.owners and b.owners):
        return True
    is_turned = bool(a.actors and b.actors) and a.actors != b.actors
    return (a.owners != b.owners) == is_turned


def _persons(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PERSONS[word] for word in words if word in _PERSONS))


def _without_idioms(words: Sequence[str], stems: Sequence[str]) -> list[tuple[str, str]]:
    """Words and stems without a "by" that names no agent: "what do you mean by it", "by yourself"."""
    return [
        (word, stem)
        for before, word, stem, after in zip(["", *words], words, stems, [*words[1:], ""], strict=False)
        if word != "by" or not (before in {"mean", "meant"} or after.endswith(("self", "selves")))
    ]


def _governed(words: Sequence[str], stems: Sequence[str]) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """Each word that is not light with the preposition right before it, light words aside; and those before none."""
    behind: dict[str, set[str]] = {}
    stranded: set[str] = set()
    last = _BARE
    for word, stem in _without_idioms(words, stems):
        if stem:
            is_gerund = last != "from" and word.endswith("ing")  # "ways of doing", "ways to do"
            behind.setdefault(stem, set()).add(_BARE if is_gerund else last)
            last = _BARE
        elif word in _PREPOSITIONS:
            stranded |= {last} & _STRANDED
            last = _PREPOSITIONS[word]
        elif word in _PERSONS and last != _BARE:  # "from me" is not "for me"
            behind.setdefault(_PERSONS[word], set()).add(last)
            last = _BARE if word not in _OWNERS else last
        elif word in _ANYONE or (word in _DOING and (last == "to" or word.endswith("ing"))):
            last = _BARE  # "the way to make it", "the way of making it"
    stranded |= {last} & _STRANDED
    return {stem: frozenset(found) for stem, found in behind.items()}, frozenset(stranded)


def _forms(words: Sequence[str], stems: Sequence[str]) -> dict[str, frozenset[str]]:
    forms: dict[str, set[str]] = {}
    has_be = False
    for word, stem in zip(words, stems, strict=True):
        has_be = (has_be or word in _BE) and word != "to"  # "is it safe to keep unused ones"
        if stem:
            is_past = word.endswith("ed") and not word.endswith("eed")
            forms.setdefault(stem, set()).add("plain" if not is_past else "passive" if has_be else "past")
    return {stem: frozenset(found) for stem, found in forms.items()}


def _may_replace(a: frozenset[str], b: frozenset[str]) -> bool:
    return any(one == other or frozenset({one, other}) in _REPLACEABLE for one in a for other in b)
