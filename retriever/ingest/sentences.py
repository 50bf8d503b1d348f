"""Where sentences end: a rule of thumb that needs no model and no language, made for cutting and never for grammar.

Rule 1: a wrong border costs little (two chunks meet there), a missed one costs more (a chunk cut in mid-sentence), so
        lower-case openings count: filings, logs and transcripts have them.
Rule 2: linear time on any input, so the patterns hold no nested repetition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# After a full stop, mark or ellipsis and its closing quotes, before white space; CJK stops need no white space. A blank
# line ends a sentence as well, also where line breaks are escaped: dumped strings (JSON, logs) hold them so.
_END = re.compile(
    r"""[.!?\u2026][)\]"'\u00bb\u201d\u2019]{0,3}(?=\s)    # Latin and its relatives
      | [\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019]{0,3}  # CJK
      | \n[ \t]*\n
      | (?:\\n){2}
    """,
    re.VERBOSE,
)
# English ones that are followed by a name or a number more often than by a new sentence.
_ABBREVIATIONS = frozenset(
    """
    al approx art ca capt cf ch col dept dr e.g ed eds eq eqs est etc fig figs gen gov hon i.e inc jr ltd mr mrs ms
    no nos op p.m a.m pp prof ref refs rep rev sec sen sgt sr st tab u.k u.s vol vols vs
    """.split()  # noqa: SIM905 - words read better than a column of quotes
)
_ABBREVIATION_CHARS = 8  # how far back to look for one: the longest, its stop and a bracket


def sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of text[start:end], trimmed of white space, in order; together they hold all that is not white."""
    opening = start
    for match in _END.finditer(text, start, end):
        if match.end() < end and _is_abbreviation(text, opening, match.start()):
            continue
        yield from _trimmed(text, opening, match.end())
        opening = match.end()
    yield from _trimmed(text, opening, end)


def _is_abbreviation(text: str, opening: int, stop: int) -> bool:
    if text[stop] != ".":
        return False
    words = text[max(opening, stop - _ABBREVIATION_CHARS) : stop].split()
    if not words or text[stop - 1].isspace():
        return False
    word = words[-1].lstrip("([\"'\u201c\u2018")
    is_initial = len(word) == 1 and word.isalpha() and word.isupper()
    return is_initial or word.lower() in _ABBREVIATIONS


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
