"""CSV, TSV and JSON: records made readable, a row or a value per line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import islice

from chassis.errors import DocumentUnreadable
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.rows import add_rows
from retriever.ingest.parsing.text import TABLE_ROW, TextBuilder

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 20
# A record beyond either is read value by value: as one row it would fill a chunk, and no quote could hold it.
MAX_RECORD_LEAVES = 24
MAX_RECORD_CHARS = 600


def parse_csv(text: str, limits: ParseLimits, format: Format) -> ParsedDocument:
    """One block per row: "name: value; name: value" when the first row holds names, else as `add_rows` says."""
    delimiter = "\t" if format is Format.TSV else _delimiter(text)
    builder = TextBuilder(limits)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
        add_rows(builder, rows, are_records=True)
    except csv.Error as exc:
        raise DocumentUnreadable("the table cannot be read: check its quotes and its delimiter") from exc
    return builder.build(title="", content_type=format)


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
    """One block per value: "path.to[0].it: value"; a small record of a list is one block, "name: value; name: value".

    Numbers stay as they are written.
    """
    builder = TextBuilder(limits)
    if format is Format.JSON_LINES:
        lines = _items((_loaded(line) for line in text.split("\n") if line.strip()), "", limits.max_depth)
    else:
        lines = _leaves(_loaded(text), "", limits.max_depth)
    for line in lines:
        builder.add(line, TABLE_ROW)
    return builder.build(title="", content_type=format)


def _loaded(text: str) -> object:
    try:
        # Numbers as strings: 4,300 digits are a ValueError for int(), and 1.10 should not become 1.1.
        value: object = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as exc:
        raise DocumentUnreadable("the document is not valid JSON, or nested too deeply") from exc
    return value


def _leaves(value: object, path: str, depth: int, *, has_records: bool = True) -> Iterator[str]:
    if depth == 0:
        raise DocumentUnreadable("the JSON is nested too deeply: flatten it")
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else str(name), depth - 1, has_records=has_records)
        case list():
            yield from _items(value, path, depth, has_records=has_records)
        case None:
            return
        case bool():
            yield f"{path}: {str(value).lower()}" if path else str(value).lower()
        case _:
            flat = " ".join(str(value).split())
            yield f"{path}: {flat}" if path else flat


def _items(values: Iterable[object], path: str, depth: int, *, has_records: bool = True) -> Iterator[str]:
    for index, value in enumerate(values):
        if has_records and isinstance(value, dict) and (record := _record(value, depth - 1)):
            yield f"{path}[{index}]: {record}" if path else record
        else:
            yield from _leaves(value, f"{path}[{index}]", depth - 1, has_records=has_records)


def _record(value: object, depth: int) -> str:
    """A small object as one row, so that what belongs together is found together; "" for a large one, or one value."""
    leaves = list(islice(_leaves(value, "", depth, has_records=False), MAX_RECORD_LEAVES + 1))
    row = "; ".join(leaves)
    return row if 1 < len(leaves) <= MAX_RECORD_LEAVES and len(row) <= MAX_RECORD_CHARS else ""
