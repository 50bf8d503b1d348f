"""CSV, TSV and JSON: records made readable, a row or a value per line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence

from chassis.errors import DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.text import TABLE_ROW, TextBuilder, row_text

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 20


def parse_csv(text: str, limits: ParseLimits, format: Format) -> ParsedDocument:
    """One block per row: "name: value; name: value" when the first row holds names, else the values."""
    delimiter = "\t" if format is Format.TSV else _delimiter(text)
    builder = TextBuilder(limits)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
        add_rows(builder, rows)
    except csv.Error as exc:
        raise DocumentUnreadable("the table cannot be read: check its quotes and its delimiter") from exc
    return builder.build(title="", content_type=format)


def add_rows(builder: TextBuilder, rows: Iterator[Sequence[str]], *, page: int = 0) -> None:
    """Append a table's rows; a first row of names is told from the rest and stands in front of every value."""
    names: Sequence[str] | None = None
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if names is None:
            names = row if _holds_names(row) else ()
            if names:
                builder.add(" | ".join(cell.strip() for cell in row if cell.strip()), TABLE_ROW, page=page)
                continue
        builder.add(row_text(names, row), TABLE_ROW, page=page)


def _holds_names(row: Sequence[str]) -> bool:
    """Names are words, each once: data has numbers, and values that repeat."""
    cells = [cell.strip() for cell in row if cell.strip()]
    return len(cells) > 1 and len(set(cells)) == len(cells) and not any(_is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    return cell.strip("$€£%+-() ").replace(",", "").replace(".", "").isdigit()


def _delimiter(text: str) -> str:
    """The sign that parts the first rows into the same number of cells, more than one; a comma when none does."""

    def score(sign: str) -> tuple[int, int]:
        rows = csv.reader(io.StringIO(text[:65_536], newline=""), delimiter=sign)
        sizes = [len(row) for row, _ in zip(rows, range(_SAMPLE_ROWS), strict=False) if row]
        common = max(set(sizes), key=sizes.count, default=1)
        return (sizes.count(common), common) if common > 1 else (0, 0)

    best = max(_DELIMITERS, key=score)
    return best if score(best) > (0, 0) else ","


def parse_json(text: str, limits: ParseLimits, format: Format) -> ParsedDocument:
    """One block per value: "path.to[0].it: value". Numbers stay as they are written."""
    builder = TextBuilder(limits)
    documents = _json_lines(text) if format is Format.JSON_LINES else [("", _loaded(text))]
    for path, value in documents:
        for line in _leaves(value, path, limits.max_depth):
            builder.add(line, TABLE_ROW)
    return builder.build(title="", content_type=format)


def _json_lines(text: str) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            yield f"[{number}]", _loaded(line)


def _loaded(text: str) -> object:
    try:
        # Numbers as strings: 4,300 digits are a ValueError for int(), and 1.10 should not become 1.1.
        value: object = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as exc:
        raise DocumentUnreadable("the document is not valid JSON, or nested too deeply") from exc
    return value


def _leaves(value: object, path: str, depth: int) -> Iterator[str]:
    if depth == 0:
        raise DocumentUnreadable("the JSON is nested too deeply: flatten it")
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else str(name), depth - 1)
        case list():
            for index, inner in enumerate(value):
                yield from _leaves(inner, f"{path}[{index}]", depth - 1)
        case None:
            return
        case bool():
            yield f"{path}: {str(value).lower()}" if path else str(value).lower()
        case _:
            flat = " ".join(str(value).split())
            yield f"{path}: {flat}" if path else flat
