"""Markdown: kept verbatim, its structure told line by line.

Rule 1: the text is the source, marks included, so an offset means the same in the owner's file. Only block structure
        (CommonMark 0.31 chapters 4 and 5, GitHub tables) is read; emphasis, links and HTML stay as they are.
Rule 2: one pass, linear in the input: a full CommonMark parser is 50 times slower and has inputs it never finishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from retriever.documents import ParsedDocument, TextBlock
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.text import (
    CODE,
    HEADING,
    LIST_ITEM,
    PARAGRAPH,
    TABLE_ROW,
    check_length,
    finished,
    heading_name,
    paragraph_spans,
)

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")  # with a backtick after them, three are code in a line
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_TABLE = re.compile(r"[ \t]*\|.*\|[ \t]*$")
_RAW = re.compile(r" {0,3}<(!--|pre|script|style|textarea)(?:(?<=--)|(?=[\s>])|$)")
_FRONT = re.compile(r"---[ \t]*$")
_FRONT_END = re.compile(r"(?:---|\.\.\.)[ \t]*$")
_FRONT_TITLE = re.compile(r"title:[ \t]*(.+)$", re.IGNORECASE)
MAX_FRONT_LINES = 200  # a "---" at the top that is closed later than this was a rule, not front matter


def parse_markdown(text: str, limits: ParseLimits) -> ParsedDocument:
    """Headings with their levels, paragraphs, list items, code and table rows; the title is front matter's, if any."""
    check_length(len(text), limits)
    scan = _Scan(text)
    for start, end in _lines(text):
        scan.line(start, end)
    scan.flush()
    return finished(text, scan.blocks, title=scan.title, content_type=Format.MARKDOWN)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, end
        start = end + 1


@dataclass(slots=True)
class _Scan:
    """The state between two lines: an open block, if any."""

    text: str
    blocks: list[TextBlock] = field(default_factory=list)
    title: str = ""
    _kind: str = ""  # of the open block; "" = none
    _start: int = 0
    _end: int = 0
    _fence: str = ""  # what closes the open code block
    _indent: int = 0  # of what stands in its list item
    _raw: str = ""  # what ends the open comment, or HTML that says what it says
    _missing: set[str] = field(default_factory=set)  # what ends nothing from here on
    _front: int = 0  # lines of front matter seen; 0 = not in it
    _seen: int = 0

    def line(self, start: int, end: int) -> None:
        line = self.text[start:end]
        self._seen += 1
        if self._front or (self._seen == 1 and _FRONT.match(line)):
            self._front_line(line, start, end)
        elif self._fence:
            self._code_line(line, end)
        elif self._raw or self._opens_raw(line, start):
            self._raw_line(line, start, end)
        elif not line.strip():
            self.flush()
        else:
            self._content_line(line, start, end)

    def _front_line(self, line: str, start: int, end: int) -> None:
        self._front += 1
        self._extend(PARAGRAPH, start, end)
        if found := _FRONT_TITLE.match(line):
            self.title = found[1].strip("\"' ")
        is_rule = self._front == 2 and not line.strip()  # front matter begins on the next line
        if is_rule or (self._front > 1 and _FRONT_END.match(line)) or self._front > MAX_FRONT_LINES:
            self._front = 0
            self.flush()

    def _code_line(self, line: str, end: int) -> None:
        self._end = end
        inner = line.removeprefix(" " * self._indent)
        found = _FENCE.match(inner)
        if found and found[1].startswith(self._fence) and not inner[found.end() :].strip():
            self.flush()

    def _opens_raw(self, line: str, start: int) -> bool:
        """Whether a comment or the like begins, whose lines are no headings; one without an end is none."""
        if not (found := _RAW.match(line)):
            return False
        self._raw = "-->" if found[1] == "!--" else f"</{found[1]}>"
        if not self._is_ahead(self._raw, start):
            self._raw = ""
        return bool(self._raw)

    def _raw_line(self, line: str, start: int, end: int) -> None:
        self._extend(PARAGRAPH, start, end)
        if self._raw in line:
            self._raw = ""
            self.flush()

    def _is_ahead(self, mark: str, position: int) -> bool:
        """Whether a mark is still to come; looked for to the end in vain only once."""
        if mark not in self._missing and self.text.find(mark, position) < 0:
            self._missing.add(mark)
        return mark not in self._missing

    def _content_line(self, line: str, start: int, end: int) -> None:
        if found := _FENCE.match(line):
            self._open(CODE, start, end)
            self._fence = found[1]
        elif found := _ATX.match(line):
            self._heading(len(found[1]), start, end)
        elif self._kind == PARAGRAPH and (found := _SETEXT.match(line)) and self._is_one_line():
            self._heading(1 if found[1][0] == "=" else 2, self._start, end)
        elif _RULE.match(line):
            self._open(PARAGRAPH, start, end)
            self.flush()
        elif found := _ITEM.match(line):
            self._item(found.end(), start, end)
        elif _TABLE.match(line):
            self._open(TABLE_ROW, start, end)
            self.flush()
        else:
            self._extend(PARAGRAPH, start, end)

    def _item(self, indent: int, start: int, end: int) -> None:
        """A list item; code that begins in its first line ends at its fence."""
        found = _FENCE.match(self.text[start + indent : end])
        if found and self._is_ahead(found[1], end):
            self._open(CODE, start, end)
            self._fence, self._indent = found[1], indent
        else:
            self._open(LIST_ITEM, start, end)

    def _is_one_line(self) -> bool:
        return "\n" not in self.text[self._start : self._end]

    def _heading(self, level: int, start: int, end: int) -> None:
        """A heading's block is its whole line, marks included (rule 1); of a setext heading, both lines."""
        if self._kind == PARAGRAPH and self._start == start:
            self._kind = ""  # a setext heading: the open paragraph was its words
        self.flush()
        line = self.text[start:end]
        if heading_name(line):
            first = start + len(line) - len(line.lstrip())
            self.blocks.append(TextBlock(HEADING, first, start + len(line.rstrip()), level))

    def _open(self, kind: str, start: int, end: int) -> None:
        self.flush()
        self._kind, self._start, self._end = kind, start, end

    def _extend(self, kind: str, start: int, end: int) -> None:
        if self._kind:
            self._end = end
        else:
            self._open(kind, start, end)

    def flush(self) -> None:
        """Close the open block."""
        kind, self._kind, self._fence, self._indent = self._kind, "", "", 0
        if not kind:
            return
        if kind == PARAGRAPH:
            spans = list(paragraph_spans(self.text, self._start, self._end))
        else:
            block = self.text[self._start : self._end]
            spans = [(self._start + len(block) - len(block.lstrip()), self._start + len(block.rstrip()))]
        self.blocks.extend(TextBlock(kind, start, end) for start, end in spans)
