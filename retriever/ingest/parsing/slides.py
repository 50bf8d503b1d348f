"""PPTX by python-pptx, in the child: each slide's title, texts, tables and notes; the page is the slide's number.

Does not: read pictures, charts' data, SmartArt, slide masters or hidden layout text.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pptx
from lxml import etree
from pptx.exc import PackageNotFoundError, PythonPptxError

from chassis.errors import DocumentTooLarge, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.rows import add_rows
from retriever.ingest.parsing.text import HEADING, LIST_ITEM, PARAGRAPH, TextBuilder

_TEMPLATE_TITLES = frozenset({"PowerPoint Presentation"})


def parse_pptx(data: bytes, limits: ParseLimits) -> ParsedDocument:
    """A heading per slide, its paragraphs as list items, table rows, then the notes.

    Raises:
        DocumentUnreadable: not a presentation, or damaged.
    """
    try:
        deck = pptx.Presentation(io.BytesIO(data))
        builder = TextBuilder(limits)
        for number, slide in enumerate(deck.slides, start=1):
            _add_slide(builder, slide, number, limits)
        title = deck.core_properties.title
        return builder.build(title="" if title in _TEMPLATE_TITLES else title, content_type=Format.PPTX)
    except (PackageNotFoundError, PythonPptxError, KeyError, ValueError, AttributeError, etree.XMLSyntaxError) as exc:
        # KeyError, ValueError and AttributeError are what python-pptx makes of missing or misplaced parts.
        raise DocumentUnreadable("the bytes are not a presentation, or it is damaged") from exc


def _add_slide(builder: TextBuilder, slide: Any, number: int, limits: ParseLimits) -> None:
    title = slide.shapes.title
    if title is not None:
        builder.add(" ".join(title.text_frame.text.split()), HEADING, level=1, page=number)
    for shape in _shapes(slide.shapes, limits.max_depth):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if shape.has_text_frame:
            for paragraph in shape.text_frame.paragraphs:
                builder.add(" ".join(paragraph.text.split()), LIST_ITEM, page=number)
        elif shape.has_table:
            rows = ([cell.text_frame.text for cell in row.cells] for row in shape.table.rows)
            add_rows(builder, rows, page=number)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        builder.add(f"Notes: {notes}" if notes else "", PARAGRAPH, page=number)


def _shapes(shapes: Iterable[Any], depth: int) -> Iterator[Any]:
    """The shapes with those inside of groups."""
    if depth == 0:
        raise DocumentTooLarge("the presentation nests groups too deeply")
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes, depth - 1)
        else:
            yield shape
