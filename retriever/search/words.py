"""The words of a question that tell anything, for every lexical leg.

Stop words are dropped from the question only, never from the index: "The Who" stays findable, and so does a question
made of nothing else.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TERMS: Final = 64  # a pasted page is not a question; each term costs a walk through its postings
_WORD: Final = re.compile(r"[^\W_]+")
STOP_WORDS: Final = frozenset(
    """
    a about above after again all also am an and any are as at be because been before being below between both but
    by can could did do does doing done down during each either else ever few for from further had has have having
    he her here hers herself him himself his how however i if in into is it its itself just many may me might more
    most much must my myself no nor not of off on once one only or other ought our ours out over own per rather same
    shall she should since so some such than that the their theirs them themselves then there these they this those
    through to too under until up upon us very was we were what when where whether which while who whom whose why
    will with within without would yet you your yours yourself s t d ll m re ve don didn doesn isn wasn weren won
    aren couldn hadn hasn haven shouldn wouldn
    """.split()  # noqa: SIM905  # quoted one by one, nobody reads them
)


def telling_words(text: str) -> list[str]:
    """The words of `text` in lower case, each once, without stop words; [] when it has no others."""
    return [word for word in words_of(text) if word not in STOP_WORDS]


def words_of(text: str) -> list[str]:
    """All words of `text` in lower case, each once, in order."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))
