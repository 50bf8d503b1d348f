"""PDF by pdfium, in the child: the text layer page by page, lines joined to paragraphs.

Does not: OCR, find headings or tables, or read forms and annotations.
"""

from __future__ import annotations

from collections.abc import Iterator

import pypdfium2 as pdfium

from chassis.errors import DocumentEncrypted, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.text import TextBuilder

_HYPHEN = "\ufffe"  # what pdfium gives for a hyphen at a line's end
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
        for number in range(len(document)):
            for paragraph in _paragraphs(_page_text(document, number)):
                builder.add(paragraph, page=number + 1)
        return builder.build(title=document.get_metadata_value("Title"), content_type=Format.PDF)
    finally:
        document.close()


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


def _paragraphs(text: str) -> Iterator[str]:
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    width = max((len(line) for line in lines), default=0)
    paragraph = ""
    for line in lines:
        if not line:
            yield paragraph
            paragraph = ""
            continue
        paragraph = _joined(paragraph, line)
        if line.endswith(_SENTENCE_ENDS) and len(line) < _FULL_LINE * width:
            yield paragraph
            paragraph = ""
    yield paragraph


def _joined(paragraph: str, line: str) -> str:
    """A word broken at the line's end becomes one again; other lines meet at a blank."""
    line = line.replace(_HYPHEN, "-") if not line.endswith(_HYPHEN) else line[:-1].replace(_HYPHEN, "-") + _HYPHEN
    if not paragraph:
        return line
    return paragraph[:-1] + line if paragraph.endswith(_HYPHEN) else f"{paragraph} {line}"
