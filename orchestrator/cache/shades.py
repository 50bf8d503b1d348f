"""What the light words of a question still tell: may or must, and or or, good or best, use or make, when or how.

They may be there or not without changing what is asked, but they do not replace one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from orchestrator.cache.polarity import NEGATORS, word_list

FEW: Final = 2  # content words; with so few a light verb is likely the verb of the question ("who uses Redis?")


def _classes(text: str) -> dict[str, str]:
    """Every word of a group with the group's first."""
    groups = [group.split() for group in text.replace("\n", "|").split("|")]
    return {word: group[0] for group in groups for word in group}


_MODALS: Final = _classes(
    """may can could might able allowed permitted possible|must required obliged obligated mandatory necessary
should ought supposed advised recommended"""
)
_MUST_BEFORE_TO: Final = frozenset(word_list("have has had having need needs needed"))

# Verbs and nouns that may be there or not. Within a group one may stand for another.
ACTIONS: Final = _classes(
    """use used using uses|make made making makes|get got getting gets find finding found finds|take taking took takes
give giving gave gives|go going goes|need needs needed|want wants wanted|like likes liked|know knows knew
think thinks thought|example examples|kind kinds type types sort sorts"""
)
_GET: Final = frozenset(word_list("get gets got getting"))
_HAVE: Final = frozenset(word_list("have has had having"))
_HELPERS: Final = frozenset(word_list("do does did to can could will would should must may might"))
_DETERMINERS: Final = frozenset(word_list("a an the any some no"))
_NO_THING: Final = frozenset(word_list("to been i you we they he she it got"))
_FRAMES: Final = ("want to", "like to", "going to", "need to", "do you think", "get started", "i need", "i want")
_LIKENESS: Final = frozenset(word_list("is are was were be it's what's feel feels look looks sound sounds seem seems"))
_DEGREES: Final = _classes("good great nice|better|best most")

_NEGATORS: Final = _classes(
    """stop quit avoid|fail fails failed refuse unable|lack lacks lacking|except unless|without|hardly barely"""
)


@dataclass(frozen=True, slots=True)
class Shades:
    """What the light words of one question say."""

    is_open: bool  # asks with a question word, not for yes or no
    is_how: bool  # with "how" alone
    modals: frozenset[str]
    joins: frozenset[str]  # "and", "or"
    degrees: frozenset[str]
    compares: bool  # "than"
    actions: frozenset[str]
    negators: frozenset[str]
    later: frozenset[str]  # what is asked for after the first question word: "who decides when"


def read_shades(words: Sequence[str], aspects: Sequence[str]) -> Shades:
    """The shades of a question, given in small letters, and all it asks for, in order."""
    return Shades(
        is_open=bool(aspects),
        is_how=bool(aspects) and aspects[0] == "manner",
        modals=_modals(words),
        joins=frozenset(words) & {"and", "or"},
        degrees=_found(words, _DEGREES),
        compares="than" in words,
        actions=_actions(words),
        negators=_found(words, _NEGATORS),
        later=frozenset(aspects[1:]) & {"time", "place", "reason", "manner"},
    )


def have_same_shades(a: Shades, b: Shades, content: int) -> bool:
    """Whether none excludes the other.

    Args:
        a: Of one question.
        b: Of the other.
        content: How many words that are not light the shorter one has.
    """
    return (
        _same_modals(a, b)
        and a.compares == b.compares
        and a.negators == b.negators
        and not (a.later ^ b.later) - {"time"}
        and not ({"and", "or"} <= a.joins | b.joins and a.joins != b.joins)
        and (a.degrees == b.degrees or (a.is_open and b.is_open))
        and _same_actions(a.actions, b.actions, content)
    )


def _same_actions(a: frozenset[str], b: frozenset[str], content: int) -> bool:
    return a == b or (content > FEW and not (a and b and a.isdisjoint(b)))


def _same_modals(a: Shades, b: Shades) -> bool:
    """ "How should I" asks as "how can I" does, and "how do I" as both; for yes or no, every modal counts."""
    if a.is_open and b.is_open and not (a.modals and b.modals):
        return True
    advice = frozenset({"should", "may"}) if a.is_how or b.is_how else frozenset[str]()
    return a.modals - advice == b.modals - advice


def _modals(words: Sequence[str]) -> frozenset[str]:
    obligation = "must" if NEGATORS.isdisjoint(words) else "have to"  # "must not" forbids, "need not" allows
    obliged = {obligation for word, following in pairwise(words) if word in _MUST_BEFORE_TO and following == "to"}
    return _found(words, _MODALS) | obliged


def _actions(words: Sequence[str]) -> frozenset[str]:
    text = f" {' '.join(words)} "
    for frame in _FRAMES:
        text = text.replace(f" {frame} ", " ")
    left = text.split()
    if not _LIKENESS.isdisjoint(left):  # "what is it like", "it looks like"
        left = [word for word in left if word != "like"]
    if any(word.endswith("ed") for word in left):  # "it gets deleted"; the voice is compared with the roles
        left = [word for word in left if word not in _GET]
    return _found(left, ACTIONS) | _ownership(words)


def _ownership(words: Sequence[str]) -> frozenset[str]:
    """ "have" as a verb of its own: "does it have a cache" is not "is it a cache"."""
    for place, (word, following) in enumerate(zip(words, [*words[1:], ""], strict=False)):
        has_helper = not _HELPERS.isdisjoint(words[:place])
        is_own = has_helper and following not in _NO_THING and not following.endswith("ed")
        if word in _HAVE and (is_own or following in _DETERMINERS):
            return frozenset({"have"})
    return frozenset()


def _found(words: Sequence[str], classes: dict[str, str]) -> frozenset[str]:
    return frozenset(classes[word] for word in words if word in classes)
