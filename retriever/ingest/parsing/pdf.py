"""PDF by pdfium, in the child: the text layer page by page, lines joined to paragraphs.

Rule 1: a word broken at a line's end becomes one again, or nobody finds it; a compound keeps its own hyphen.
Rule 2: what stands at the edge of page after page (running titles, page numbers) is said once: it cuts sentences in two
        and is in every quote otherwise. `running` tells such lines from the headings of merged records.

Does not: OCR, find headings or tables, or read forms and annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pypdfium2 as pdfium

from chassis.errors import DocumentEncrypted, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.running import without_running_lines
from retriever.ingest.parsing.text import TextBuilder, check_length

# What pdfium gives for a hyphen at a line's end; the line break after it is gone, mostly.
_BROKEN = re.compile(r"(\w{0,60})\ufffe\s*(\w{0,60})")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE_ENDS = (".", "!", "?", ":", "\u2026", "\u3002", "\uff01", "\uff1f")
# A line that ends a sentence well before the margin ends its paragraph.
_FULL_LINE = 0.8


def parse_pdf(data: bytes, limits: ParseLimits) -> ParsedDocument:
    """Paragraphs with their 1-based page; the title is the file's own metadata.

    Raises:
        DocumentEncrypted: it needs a password.  DocumentUnreadable: damaged.  DocumentEmpty: no text layer.
    """
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as exc:
        if "password" in str(exc).lower() or "security" in str(exc).lower():
            raise DocumentEncrypted("the PDF is protected by a password: send it without") from exc
        raise DocumentUnreadable("the PDF is damaged: check that the file is whole") from exc
    try:
        builder = TextBuilder(limits)
        pages = _mended(list(_page_texts(document, limits)))
        for number, lines in enumerate(without_running_lines([_lines(page) for page in pages]), start=1):
            for paragraph in _paragraphs(lines):
                builder.add(paragraph, page=number)
        return builder.build(title=document.get_metadata_value("Title"), content_type=Format.PDF)
    finally:
        document.close()


def _page_texts(document: pdfium.PdfDocument, limits: ParseLimits) -> Iterator[str]:
    """Every page, while they stay below the limit: all are held until the last is known."""
    chars = 0
    for number in range(len(document)):
        text = _page_text(document, number)
        chars += len(text)
        check_length(chars, limits)
        yield text


def _page_text(document: pdfium.PdfDocument, number: int) -> str:
    try:
        page = document[number]
        text_page = page.get_textpage()
        text: str = text_page.get_text_range()
        text_page.close()
        page.close()
    except pdfium.PdfiumError as exc:
        raise DocumentUnreadable(f"page {number + 1} of the PDF is damaged") from exc
    return text


def _mended(pages: Sequence[str]) -> list[str]:
    """The pages with broken words whole (rule 1); the document's own words tell which hyphens are real."""
    if not any("\ufffe" in page for page in pages):
        return list(pages)
    known = {word.lower() for page in pages for word in _WORD.findall(_BROKEN.sub(" ", page))}

    def whole(match: re.Match[str]) -> str:
        before, after = match[1], match[2]
        is_compound = {before.lower(), after.lower()} <= known and (before + after).lower() not in known
        is_word = before.isalpha() and after[:1].islower() and not is_compound
        return before + after if is_word else f"{before}-{after}"

    return [_BROKEN.sub(whole, page) for page in pages]


def _lines(page: str) -> list[str]:
    return [line.strip() for line in page.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    width = max((len(line) for line in lines), default=0)
    paragraph = ""
    for line in lines:
        if not line:
            yield paragraph
            paragraph = ""
            continue
        paragraph = f"{paragraph} {line}" if paragraph else line
        if line.endswith(_SENTENCE_ENDS) and len(line) < _FULL_LINE * width:
            yield paragraph
            paragraph = ""
    yield paragraph
