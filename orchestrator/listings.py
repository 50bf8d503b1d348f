"""What a sentence that ends in a colon introduces, a list or a block of code: with it, one statement.

Rule 1: only whole items and closed fences belong to it, and nothing that would make it longer than MAX_LISTING_CHARS.
Rule 2: a colon with neither behind it announces what is not here: it says nothing by itself.
"""

# ruff: noqa: RUF001 - the full-width colon ends sentences as well
from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.sentences import sentences

__all__ = ["FENCED", "ITEM", "MAX_LISTING_CHARS", "announces", "listing_end", "listings"]

MAX_LISTING_CHARS = 1_000  # some 150 words; less than orchestrator.citations keeps of what a marker closes

_SIGN = r"(?:[-*+•]|\d{1,3}[.)])"
_COLON = re.compile(r"""[:：]["'”’)\]*_`]*\Z""")
# With the line ends and blank lines before it: indent, sign, and its lines up to what is something of its own.
ITEM = re.compile(
    rf"(?:[ \t]*\n)+(?P<indent>[ \t]*)(?P<sign>{_SIGN})[ \t]+(?P<said>\S[^\n]*"
    rf"(?:\n(?![ \t]*(?:{_SIGN}[ \t]|#|\||>|```|~~~))[ \t]*\S[^\n]*)*)"
)
FENCED = re.compile(
    r"(?:[ \t]*\n)+(?P<indent>[ \t]*)(?P<fence>`{3,}|~~~(?!~))[ \t]*(?P<language>[\w+.#-]*)[^\n]*\n"
    r"(?P<code>.*?)\n[ \t]*(?P=fence)[ \t]*(?=\n|\Z)",
    re.DOTALL,
)


def announces(text: str) -> bool:
    """Whether the sentence ends in a colon."""
    return _COLON.search(text[-8:]) is not None


def listing_end(text: str, start: int, end: int) -> int:
    """Where ends what the sentence text[start:end] introduces; `end` when that is nothing."""
    if not announces(text[start:end]):
        return end
    limit = start + MAX_LISTING_CHARS
    fenced = FENCED.match(text, end, limit)
    if fenced is not None:
        return fenced.end()
    while (item := ITEM.match(text, end, limit + 1)) is not None and item.end() <= limit:
        end = item.end()
        code = FENCED.match(text, end, limit)
        if code is not None and (code["indent"] or announces(item["said"])):
            end = code.end()
    return end


def listings(text: str) -> Iterator[tuple[int, int]]:
    """Every introduction of the text with what it introduces."""
    for span in sentences(text):
        end = span.end if span.is_heading else listing_end(text, span.start, span.end)
        if end > span.end:
            yield span.start, end
