"""DOCX by python-docx, in the child: headings, paragraphs, lists and tables in the order of the body.

What wraps text is walked through (content controls, tracked insertions, fields, smart tags): python-docx's own `text`
sees plain runs only and would lose what a reader of the document reads. A footnote stands after what refers to it.

Does not: headers, footers, comments, or text that tracked changes deleted or moved away.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import docx
from docx.document import Document
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.table import Table, _Cell
from docx.text.paragraph import Paragraph
from lxml import etree

from chassis.errors import DocumentTooLarge, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.rows import add_rows
from retriever.ingest.parsing.text import HEADING, LIST_ITEM, PARAGRAPH, TextBuilder

_HEADING_STYLE = re.compile(r"heading ?([1-9])$", re.IGNORECASE)
_MAX_LEVEL = 6
_MAX_COLUMNS = 1024  # a cell may claim any number; Word itself makes 63
_TEMPLATE_TITLES = frozenset({"Word Document"})  # what programs write when nobody named the file

_PARAGRAPH, _TABLE, _TEXT_BOX = qn("w:p"), qn("w:tbl"), qn("w:txbxContent")
_ROW, _CELL = qn("w:tr"), qn("w:tc")
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Around blocks, rows, cells or runs, and part of what the document says.
_WRAPPERS = frozenset(map(qn, ("w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo")))
# Says nothing, says it a second time, or said it once; text boxes are taken on their own.
_SILENT = frozenset({*map(qn, ("w:pPr", "w:rPr", "w:sdtPr", "w:del", "w:moveFrom", "w:p")), _TEXT_BOX, _FALLBACK})
_SIGNS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_WORDS = frozenset({qn("w:t"), qn("m:t")})
_MATH_SIGNS = {qn("m:den"): "/", qn("m:sup"): "^"}  # without them 1/2 and 10^6 would read as 12 and 106
_HEADER_ROW = f"{qn('w:trPr')}/{qn('w:tblHeader')}"
_OFF = frozenset({"0", "false", "off"})
_DELETED_ROW = f"{qn('w:trPr')}/{qn('w:del')}"
_NOTES = (
    (RELATIONSHIP_TYPE.FOOTNOTES, "w:footnote", "w:footnoteReference"),
    (RELATIONSHIP_TYPE.ENDNOTES, "w:endnote", "w:endnoteReference"),
)


def parse_docx(data: bytes, limits: ParseLimits) -> ParsedDocument:
    """Headings with levels, paragraphs, list items and table rows; the title is the file's property.

    Raises:
        DocumentUnreadable: not a Word document, or damaged.
    """
    try:
        document = docx.Document(io.BytesIO(data))
        builder = TextBuilder(limits)
        notes = _notes(document)
        for item in _blocks(document.element.body, document, limits.max_depth):
            if isinstance(item, Table):
                _add_table(builder, item, limits.max_depth)
            else:
                _add_paragraph(builder, item, notes, limits.max_depth)
        return builder.build(title=_title(document), content_type=Format.DOCX)
    except (PackageNotFoundError, KeyError, ValueError, AttributeError, etree.XMLSyntaxError) as exc:
        # KeyError, ValueError and AttributeError are what python-docx makes of missing or misplaced parts.
        raise DocumentUnreadable("the bytes are not a Word document, or it is damaged") from exc


def _title(document: Document) -> str:
    title = document.core_properties.title
    return "" if title in _TEMPLATE_TITLES else title


def _blocks(element: Any, parent: Any, depth: int) -> Iterator[Paragraph | Table]:
    """Paragraphs and tables in order, those inside of content controls and tracked insertions too."""
    for child in _parts(element, (_PARAGRAPH, _TABLE), depth):
        yield Paragraph(child, parent) if child.tag == _PARAGRAPH else Table(child, parent)


def _parts(element: Any, tags: Collection[str], depth: int) -> Iterator[Any]:
    """The elements of these tags in order, whatever they are wrapped in."""
    if depth == 0:
        raise DocumentTooLarge("the document nests its parts too deeply")
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag in _WRAPPERS:
            yield from _parts(child, tags, depth - 1)


def _add_paragraph(
    builder: TextBuilder, paragraph: Paragraph, notes: Mapping[tuple[str, str], str], depth: int
) -> None:
    style = paragraph.style.name or "" if paragraph.style is not None else ""
    text = _text(paragraph)
    found = _HEADING_STYLE.match(style)
    if found or style == "Title":
        builder.add(_flat(text), HEADING, level=min(int(found[1]), _MAX_LEVEL) if found else 1)
    elif style.startswith("List") or _is_numbered(paragraph):
        builder.add(_flat(text), LIST_ITEM)
    else:
        builder.add(text, PARAGRAPH)
    for item in _boxes(paragraph, depth):
        if isinstance(item, Table):
            _add_table(builder, item, depth)
        else:
            builder.add(_text(item), PARAGRAPH)
    for _, _, reference in _NOTES:
        for mark in paragraph._p.iter(qn(reference)):  # noqa: SLF001 - has no public name
            builder.add(notes.get((reference, mark.get(qn("w:id"), "")), ""), PARAGRAPH)


def _text(paragraph: Paragraph) -> str:
    """What the paragraph says, whatever its runs are wrapped in."""
    return "".join(_said(paragraph._p))  # noqa: SLF001 - has no public name


def _said(element: Any) -> Iterator[str]:
    for child in element:
        if child.tag in _WORDS:
            yield child.text or ""
        elif child.tag in _SIGNS:
            yield _SIGNS[child.tag]
        elif child.tag in _MATH_SIGNS:
            said = "".join(_said(child))
            yield f"{_MATH_SIGNS[child.tag]}{said}" if said else ""
        elif child.tag not in _SILENT:
            yield from _said(child)


def _boxes(paragraph: Paragraph, depth: int) -> Iterator[Paragraph | Table]:
    """What is in the text boxes anchored here; each box stands twice in the file, the second as a fallback."""
    element: Any = paragraph._p  # noqa: SLF001 - has no public name
    for box in element.iter(_TEXT_BOX):
        if not any(around.tag == _FALLBACK for around in box.iterancestors()):
            yield from _blocks(box, paragraph, depth)


def _notes(document: Document) -> dict[tuple[str, str], str]:
    """Footnotes and endnotes by the tag that refers to them and their id."""
    notes = {}
    for relation in document.part.rels.values():
        for kind, tag, reference in _NOTES:
            if relation.reltype == kind and not relation.is_external:
                part: Any = parse_xml(relation.target_part.blob)
                for note in part.iter(qn(tag)):
                    parts = (_text(Paragraph(p, document)) for p in note.iter(_PARAGRAPH))
                    notes[reference, note.get(qn("w:id"), "")] = " ".join(" ".join(parts).split())
    return notes


def _flat(text: str) -> str:
    return " ".join(text.split())


def _is_numbered(paragraph: Paragraph) -> bool:
    return paragraph._p.find(f"{qn('w:pPr')}/{qn('w:numPr')}") is not None  # noqa: SLF001 - has no public name


def _add_table(builder: TextBuilder, table: Table, depth: int) -> None:
    """Its rows; the first holds names where somebody had it repeated on every page (`w:tblLook` is every table's)."""
    marks = (row.find(_HEADER_ROW) for row in _parts(table._tbl, (_ROW,), depth))  # noqa: SLF001
    mark = next(marks, None)
    has_header = mark is not None and mark.get(qn("w:val"), "1") not in _OFF
    add_rows(builder, _rows(table, depth), has_header=has_header)


def _rows(table: Table, depth: int) -> Iterator[list[str]]:
    """Rows with a text per column of the grid: a cell over several has its text in the first, in each row it spans."""
    if depth == 0:
        raise DocumentTooLarge("the document nests tables too deeply")
    above: dict[int, str] = {}
    for row in _parts(table._tbl, (_ROW,), depth):  # noqa: SLF001 - has no public name
        if row.find(_DELETED_ROW) is not None:
            continue
        cells = [""] * min(row.grid_before, _MAX_COLUMNS)
        for cell in _parts(row, (_CELL,), depth):
            column = len(cells)
            if cell.vMerge != "continue":
                above[column] = _cell_text(_Cell(cell, table), depth)
            cells += [above.get(column, ""), *[""] * (min(cell.grid_span, _MAX_COLUMNS) - 1)]
        yield cells


def _cell_text(cell: _Cell, depth: int) -> str:
    parts: list[str] = []
    for item in _blocks(cell._tc, cell, depth):  # noqa: SLF001
        if isinstance(item, Table):
            parts.extend("; ".join(filter(None, row)) for row in _rows(item, depth - 1))
        else:
            parts.append(_text(item))
    return _flat(" ".join(parts))
