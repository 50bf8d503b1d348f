"""DOCX by python-docx, in the child: headings, paragraphs, lists and tables in the order of the body.

Does not: headers, footers, footnotes, comments, text boxes, or text that tracked changes deleted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import docx
from docx.document import Document
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.ns import qn
from docx.table import Table, _Cell
from docx.text.paragraph import Paragraph
from lxml import etree

from chassis.errors import DocumentTooLarge, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.records import add_rows
from retriever.ingest.parsing.text import HEADING, LIST_ITEM, PARAGRAPH, TextBuilder

_HEADING_STYLE = re.compile(r"heading ?([1-9])$", re.IGNORECASE)
_MAX_LEVEL = 6
_TEMPLATE_TITLES = frozenset({"Word Document"})  # what programs write when nobody named the file


def parse_docx(data: bytes, limits: ParseLimits) -> ParsedDocument:
    """Headings with levels, paragraphs, list items and table rows; the title is the file's property.

    Raises:
        DocumentUnreadable: not a Word document, or damaged.
    """
    try:
        document = docx.Document(io.BytesIO(data))
        builder = TextBuilder(limits)
        for item in document.iter_inner_content():
            if isinstance(item, Table):
                add_rows(builder, _rows(item, limits.max_depth))
            else:
                _add_paragraph(builder, item)
        return builder.build(title=_title(document), content_type=Format.DOCX)
    except (PackageNotFoundError, KeyError, ValueError, AttributeError, etree.XMLSyntaxError) as exc:
        # KeyError, ValueError and AttributeError are what python-docx makes of missing or misplaced parts.
        raise DocumentUnreadable("the bytes are not a Word document, or it is damaged") from exc


def _title(document: Document) -> str:
    title = document.core_properties.title
    return "" if title in _TEMPLATE_TITLES else title


def _add_paragraph(builder: TextBuilder, paragraph: Paragraph) -> None:
    style = paragraph.style.name or "" if paragraph.style is not None else ""
    found = _HEADING_STYLE.match(style)
    if found or style == "Title":
        builder.add(_flat(paragraph), HEADING, level=min(int(found[1]), _MAX_LEVEL) if found else 1)
    elif style.startswith("List") or _is_numbered(paragraph):
        builder.add(_flat(paragraph), LIST_ITEM)
    else:
        builder.add(paragraph.text, PARAGRAPH)


def _flat(paragraph: Paragraph) -> str:
    return " ".join(paragraph.text.split())


def _is_numbered(paragraph: Paragraph) -> bool:
    return paragraph._p.find(f"{qn('w:pPr')}/{qn('w:numPr')}") is not None  # noqa: SLF001 - has no public name


def _rows(table: Table, depth: int) -> Iterator[list[str]]:
    if depth == 0:
        raise DocumentTooLarge("the document nests tables too deeply")
    for row in table.rows:
        cells: list[str] = []
        seen: object = None
        for cell in row.cells:
            if cell._tc is not seen:  # noqa: SLF001 - a merged cell is listed once per column it spans
                cells.append(_cell_text(cell, depth))
            seen = cell._tc  # noqa: SLF001
        yield cells


def _cell_text(cell: _Cell, depth: int) -> str:
    parts: list[str] = []
    for item in cell.iter_inner_content():
        if isinstance(item, Table):
            parts.extend("; ".join(filter(None, row)) for row in _rows(item, depth - 1))
        else:
            parts.append(item.text)
    return " ".join(" ".join(parts).split())
