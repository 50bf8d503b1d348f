"""Extracted text under construction: blocks in order, offsets exact by construction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chassis.errors import DocumentEmpty, DocumentTooLarge
from retriever.documents import ParsedDocument, TextBlock
from retriever.ingest.parsing.limits import ParseLimits

HEADING = "heading"
PARAGRAPH = "paragraph"
LIST_ITEM = "list_item"
CODE = "code"
TABLE_ROW = "table_row"
# Blocks of one kind that follow each other stand on lines of their own, everything else has a blank line between.
_DENSE_KINDS = frozenset({LIST_ITEM, TABLE_ROW})

# C0 without tab and line feed, DEL, C1, the halves of surrogate pairs: nothing a reader sees, and some stores refuse.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_MARKED = re.compile(r"(?:[-*+\u2022\u00b7\u25aa]|\d{1,3}[.)])\s")  # an item whose mark was typed


def readable(text: str) -> str:
    """Line ends as "\\n"; control characters as blanks, one for one."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", text)


class TextBuilder:
    """Appends blocks; formats without offsets of their own (html, pdf, office) use it.

    Args:
        limits: Of the extracted text.
    """

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._parts: list[str] = []
        self._blocks: list[TextBlock] = []
        self._length = 0

    def add(self, text: str, kind: str = PARAGRAPH, *, level: int = 0, page: int = 0) -> None:
        """Append a block; blank text is left out. Raises DocumentTooLarge past the limit.

        List items get a mark: whoever reads the text later could not tell them from lines of one sentence.
        """
        text = readable(text).strip("\n").rstrip() if kind == CODE else readable(text).strip()
        if not text.strip():
            return
        if kind == LIST_ITEM and not _MARKED.match(text):
            text = f"- {text}"
        if self._parts:
            before = self._blocks[-1]
            self._append("\n" if kind == before.kind and kind in _DENSE_KINDS and page == before.page else "\n\n")
        start = self._length
        self._append(text)
        self._blocks.append(TextBlock(kind, start, self._length, level, page))

    def build(self, *, title: str, content_type: str) -> ParsedDocument:
        """Raises DocumentEmpty when nothing was added."""
        return finished("".join(self._parts), self._blocks, title=title, content_type=content_type)

    def _append(self, text: str) -> None:
        self._length += len(text)
        check_length(self._length, self._limits)
        self._parts.append(text)


def check_length(chars: int, limits: ParseLimits) -> None:
    if chars > limits.max_text_chars:
        raise DocumentTooLarge(
            f"the document holds more than {limits.max_text_chars} characters of text: split it",
            metadata={"max_text_chars": str(limits.max_text_chars)},
        )


def finished(text: str, blocks: Sequence[TextBlock], *, title: str, content_type: str) -> ParsedDocument:
    """The result; without a title of the file's own, the first heading is it. Raises DocumentEmpty."""
    if not blocks:
        raise DocumentEmpty("the document has no text: a scan needs OCR first")
    headings = (text[block.start_char : block.end_char] for block in blocks if block.kind == HEADING)
    named = " ".join(readable(title).split()) or heading_name(next(headings, ""))
    return ParsedDocument(text, tuple(blocks), named[:MAX_TITLE_CHARS], content_type)


MAX_TITLE_CHARS = 512  # DocumentInput.title's own limit
# Markdown's marks of a heading have blanks between them and its words: "C#" and "#1" are words.
_HASHES_BEFORE = re.compile(r"\A#{1,6}(?: |\Z)")
_HASHES_AFTER = re.compile(r"(?:\A| )#+\Z")
UNDERLINES = '=-~^*#+"` \t'
# A line longer than this was not wrapped by hand: its line break ends a paragraph.
WRAPPED_LINE_CHARS = 200


def heading_name(text: str) -> str:
    """A heading's words on one line, without the marks around them or the lines drawn above and under them."""
    lines = text.strip().split("\n")
    if len(lines) > 1 and not lines[-1].strip(UNDERLINES):
        lines.pop()
    if len(lines) > 1 and not lines[0].strip(UNDERLINES):
        lines.pop(0)
    words = " ".join(" ".join(lines).split())
    return _HASHES_AFTER.sub("", _HASHES_BEFORE.sub("", words))


def paragraph_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs of text[start:end], trimmed: parted by blank lines, or by every line where lines are long."""
    lines: list[tuple[int, int]] = []
    for from_, to in [*line_spans(text, start, end), (end, end)]:
        if from_ < to:
            lines.append((from_, to))
            continue
        if lines:
            if max(last - first for first, last in lines) > WRAPPED_LINE_CHARS:
                yield from lines
            else:
                yield lines[0][0], lines[-1][1]
        lines = []


def line_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Every line of text[start:end], trimmed of white space; a blank line is an empty span."""
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        line = text[start:stop]
        from_ = start + len(line) - len(line.lstrip())
        yield (from_, start + len(line.rstrip())) if from_ < stop else (stop, stop)
        start = stop + 1


def row_text(names: Sequence[str], values: Sequence[str]) -> str:
    """One table row as a reader would say it: "name: value; name: value"; values without a name stand alone."""
    pairs = []
    for index, value in enumerate(values):
        flat = " ".join(value.split())
        name = " ".join(names[index].split()) if index < len(names) else ""
        if flat:
            pairs.append(f"{name}: {flat}" if name else flat)
    return "; ".join(pairs)
