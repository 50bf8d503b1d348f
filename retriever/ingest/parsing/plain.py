"""Plain text and reStructuredText: kept verbatim, paragraphs told by blank lines, headings by what is drawn under them.

Rule 1: a heading is one line with a line of one repeated sign under it, no shorter than itself but for a few signs, and
        a blank line or the text's end around the two. Its level follows from the order in which signs appear, as in
        reStructuredText; a line above it as well makes a sign of its own.
Rule 2: in doubt it is a paragraph: tables are drawn with such lines too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from retriever.documents import ParsedDocument, TextBlock
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.text import HEADING, PARAGRAPH, check_length, finished, paragraph_spans

# The signs that are drawn under headings in practice; a "." or a ":" leads to a number or begins a block.
_UNDERLINED = re.compile(
    r"(?:(?<=\n\n)|\A)(?P<over>([=\-~^*#+\"`])\2{2,}[ \t]*\n)?[ \t]{0,3}(?P<name>\S[^\n]{0,119})\n"
    r"(?P<under>([=\-~^*#+\"`])\5{2,})[ \t]*(?=\n|\Z)"
)
_SHORTER = 3  # signs: hand-drawn lines are not counted out
_MAX_LEVEL = 6


def parse_plain(text: str, limits: ParseLimits) -> ParsedDocument:
    """The text itself, with its headings and paragraphs as blocks; the first heading is its title."""
    check_length(len(text), limits)
    return finished(text, list(_blocks(text)), title="", content_type=Format.PLAIN)


def _blocks(text: str) -> Iterator[TextBlock]:
    position = 0
    signs: list[tuple[bool, str]] = []
    for match in _UNDERLINED.finditer(text):
        name, sign = match["name"].strip(), (match["over"] is not None, match["under"][0])
        if len(match["under"]) + _SHORTER < len(name) or not any(char.isalnum() for char in name):
            continue
        yield from _paragraphs(text, position, match.start())
        if sign not in signs:
            signs.append(sign)
        start = match.start("over") if match["over"] else match.start("name")
        yield TextBlock(HEADING, start, match.end("under"), min(signs.index(sign) + 1, _MAX_LEVEL))
        position = match.end()
    yield from _paragraphs(text, position, len(text))


def _paragraphs(text: str, start: int, end: int) -> Iterator[TextBlock]:
    return (TextBlock(PARAGRAPH, first, last) for first, last in paragraph_spans(text, start, end))
