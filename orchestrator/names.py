"""Names in a question, and whether passages have them: who asks about Portugal is not answered about Germany.

Shares of words and cosines cannot tell "the hotel limit in Portugal" from the one in Germany; a reader can.

Rule 1: English questions only: a capital inside a sentence tells a name there, and a noun or nothing elsewhere.
Rule 2: when in doubt it is there: short forms in capitals (CFO) are seldom spelled so in the text, and a name may come
        in another form (Japan, Japanese; United States, US; Atlantic, transatlantic) or misspelled. Of XQuAD's
        questions with an answer 2 in 100 have a name that what they cite has in no such form.

Pure. Does not: find names in small letters, or know that two names mean one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby

from orchestrator.words import Word, words

__all__ = ["names_missing"]

# Words that hardly an English question goes without, and that French, German and Spanish do not have.
_ENGLISH = frozenset(
    {"the", "of", "is", "are", "does", "do", "did", "what", "which", "who", "how", "when", "where", "why"}
)
_SAME_LETTERS = 5
_SHORT_FORM_CHARS = 5
_ALIKE = 0.8  # "Zeria" and "Zeira"; "Slovakia" and "Slovenia" are .75


def names_missing(question: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The question's names of which none of the texts has any form."""
    runs = list(_runs(question))
    if not runs:
        return ()
    found = {word.text for text in texts for word in words(text)}
    known = {word.lower() for word in found}
    short_forms = {word for word in found if _is_short_form(word)}
    return tuple(
        name for run in runs if not _is_shortened(run, short_forms) for name in run if not _is_known(name, known)
    )


def _runs(question: str) -> Iterator[list[str]]:
    """Its names, in small letters; those that stand side by side together, since they may be one: United States."""
    asked = words(question)
    if _ENGLISH.isdisjoint(word.text.lower() for word in asked):
        return
    if any(word.is_capitalised and not word.is_content and word.text != "I" for word in asked[1:]):
        return  # Written In Title Case: a capital tells nothing
    for is_named, run in groupby(asked[1:], lambda word: word.is_content and word.is_capitalised):
        if is_named and (names := _without_short_forms(run)):
            yield names


def _without_short_forms(run: Iterable[Word]) -> list[str]:
    owners = (word.text.removesuffix("'s").removesuffix("\u2019s") for word in run)
    return [name.lower() for name in owners if not _is_short_form(name)]


def _is_short_form(word: str) -> bool:
    return 1 < len(word) <= _SHORT_FORM_CHARS and word.isupper()


def _is_shortened(run: Sequence[str], short_forms: Iterable[str]) -> bool:
    initials = "".join(name[0] for name in run).upper()
    return len(initials) > 1 and any(word.startswith(initials) for word in short_forms)


def _is_known(name: str, known: Iterable[str]) -> bool:
    part = name[:_SAME_LETTERS]
    if len(name) < _SAME_LETTERS:
        return any(word.startswith(part) for word in known)
    return any(part in word or _is_alike(name, word) for word in known)


def _is_alike(name: str, word: str) -> bool:
    """Whether one may be the other misspelled; the cheap bounds first."""
    match = SequenceMatcher(None, word, name, autojunk=False)
    return match.real_quick_ratio() >= _ALIKE and match.quick_ratio() >= _ALIKE and match.ratio() >= _ALIKE
