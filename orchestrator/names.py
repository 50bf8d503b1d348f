"""Names in a question, and whether passages have them: who asks about Portugal is not answered about Germany.

Shares of words and cosines cannot tell "the hotel limit in Portugal" from the one in Germany; a reader can.

Rule 1: English questions only: a capital inside a sentence tells a name there, and a noun or nothing elsewhere.
Rule 2: when in doubt it is there: short forms in capitals (CFO) are seldom spelled so in the text, and a name may come
        in another form (Japan, Japanese): five letters of it are enough.

Pure. Does not: find names in small letters, or know that two names mean one place.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.words import words

__all__ = ["names_missing"]

# Words that hardly an English question goes without, and that French, German and Spanish do not have.
_ENGLISH = frozenset(
    {"the", "of", "is", "are", "does", "do", "did", "what", "which", "who", "how", "when", "where", "why"}
)
_SAME_LETTERS = 5
_SHORT_FORM_CHARS = 5


def names_missing(question: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The question's names of which none of the texts has any form."""
    names = _names(question)
    if not names:
        return ()
    known = {word.text.lower()[:_SAME_LETTERS] for text in texts for word in words(text)}
    return tuple(name for name in names if name[:_SAME_LETTERS] not in known)


def _names(question: str) -> list[str]:
    asked = words(question)
    if _ENGLISH.isdisjoint(word.text.lower() for word in asked):
        return []
    if any(word.is_capitalised and not word.is_content and word.text != "I" for word in asked[1:]):
        return []  # Written In Title Case: a capital tells nothing
    named = (word.text for word in asked[1:] if word.is_content and word.is_capitalised)
    owners = (name.removesuffix("'s").removesuffix("\u2019s") for name in named)
    return [name.lower() for name in owners if not _is_short_form(name)]


def _is_short_form(word: str) -> bool:
    return len(word) <= _SHORT_FORM_CHARS and word.isupper()
