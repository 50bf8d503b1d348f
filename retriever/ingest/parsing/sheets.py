"""XLSX by openpyxl, in the child: one block per row, with the header row's names; the page is the sheet's number.

Does not: compute formulas (the values the file was saved with are read), or read charts, comments and hidden sheets.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from lxml import etree
from openpyxl.utils.exceptions import InvalidFileException

from chassis.errors import DocumentTooLarge, DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.rows import add_rows
from retriever.ingest.parsing.text import HEADING, TextBuilder

# Excel's own largest sheet is 1,048,576 rows; empty cells that carry a style only are counted as well.
MAX_CELLS = 5_000_000


def parse_xlsx(data: bytes, limits: ParseLimits) -> ParsedDocument:
    """A heading per sheet, then its rows as "name: value; name: value".

    Raises:
        DocumentUnreadable: not a workbook, or damaged.  DocumentTooLarge: more than MAX_CELLS cells.
    """
    try:
        # keep_links off: what other workbooks held is not this document's text.
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        builder = TextBuilder(limits)
        budget = _CellBudget()
        for number, sheet in enumerate(book.worksheets, start=1):
            if sheet.sheet_state == "visible":
                builder.add(sheet.title, HEADING, level=1, page=number)
                sheet.reset_dimensions()  # the declared size of a sheet may be anything
                add_rows(builder, budget.rows(sheet), page=number)
        title = book.properties.title or ""
        return builder.build(title=title, content_type=Format.XLSX)
    except (InvalidFileException, KeyError, ValueError, TypeError, AttributeError, IndexError, ParseError) as exc:
        # openpyxl validates little: bad parts surface as whatever Python raised.
        raise DocumentUnreadable("the bytes are not a workbook, or it is damaged") from exc
    except etree.XMLSyntaxError as exc:
        raise DocumentUnreadable("the workbook holds damaged XML") from exc


class _CellBudget:
    """Counts cells over all sheets."""

    def __init__(self) -> None:
        self._left = MAX_CELLS

    def rows(self, sheet: Any) -> Iterator[list[str]]:
        for row in sheet.iter_rows(values_only=True):
            self._left -= len(row) + 1
            if self._left < 0:
                raise DocumentTooLarge(f"the workbook has more than {MAX_CELLS} cells: split it")
            yield [_text(value) for value in row]


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case dt.datetime() if value.time() == dt.time():
            return value.date().isoformat()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()
        case _:
            return str(value)
