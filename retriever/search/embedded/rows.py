"""Chunks and document versions to rows and back, for both legs and the catalogue."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from retriever.filters import type_of
from retriever.search.embedded.schema import Clause, among
from retriever.search.embedded.sql_filter import from_micros, stored, to_micros
from retriever.types import Chunk, DocumentRecord, FieldType, Hit, Metadata, Scalar

RECORD_COLUMNS: Final = (
    "v.document_id, v.version, v.title, v.uri, v.source, v.content_type, v.metadata, v.groups, v.content_hash, "
    "v.chunk_count, v.text_chars, v.size_bytes, v.updated_at, v.source_hash"
)
_CHUNK_COLUMNS: Final = (
    "c.version, c.position, c.heading, c.is_prefix, c.text, c.section, c.page, c.start_char, c.end_char"
)
_CHUNK_WIDTH: Final = 9
LEG_TABLES: Final = ("dense_rows", "lexical_rows")


def chunk_id(version: int, position: int) -> str:
    """See retriever.types.Chunk."""
    return f"{version:x}.{position}"


def write_record(connection: sqlite3.Connection, collection: int, record: DocumentRecord) -> None:
    """Store a version's record, its filterable values and its readers; a second time changes nothing."""
    row = (
        collection,
        record.version,
        record.document_id,
        record.title,
        record.uri,
        record.source,
        record.content_type,
        _encode(record.metadata),
        json.dumps(list(record.groups)),
        record.content_hash,
        record.chunk_count,
        record.text_chars,
        record.size_bytes,
        to_micros(record.updated_at),
        record.source_hash,
    )
    marks = ", ".join("?" * len(row))
    fresh = connection.execute(f"INSERT OR IGNORE INTO versions VALUES ({marks})", row).rowcount  # noqa: S608  # marks
    if not fresh:
        return
    connection.executemany(
        "INSERT INTO metadata VALUES (?, ?, ?, ?)",
        [(collection, record.version, name, stored(value)) for name, value in record.metadata.items()],
    )
    connection.executemany(
        "INSERT INTO readers VALUES (?, ?, ?)",
        [(collection, record.version, group) for group in set(record.groups)],
    )


def read_record(row: Sequence[Any]) -> DocumentRecord:
    """A record from `RECORD_COLUMNS`."""
    return DocumentRecord(
        document_id=row[0],
        version=row[1],
        title=row[2],
        uri=row[3],
        source=row[4],
        content_type=row[5],
        metadata=_decode(row[6]),
        groups=tuple(json.loads(row[7])),
        content_hash=row[8],
        chunk_count=row[9],
        text_chars=row[10],
        size_bytes=row[11],
        updated_at=from_micros(row[12]),
        source_hash=row[13],
    )


def write_chunks(connection: sqlite3.Connection, collection: int, chunks: Iterable[Chunk]) -> None:
    """Store what both legs show of chunks; a second time changes nothing."""
    rows = [
        (collection, c.version, c.position, *split_heading(c), c.text, c.section, c.page, c.start_char, c.end_char)
        for c in chunks
    ]
    connection.executemany("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def split_heading(chunk: Chunk) -> tuple[str, bool]:
    """What stands before the text in `embed_text`, so that the text is kept once; else all of it, and False."""
    if chunk.embed_text.endswith(chunk.text):
        return chunk.embed_text[: len(chunk.embed_text) - len(chunk.text)], True
    return chunk.embed_text, False


def read_hits(connection: sqlite3.Connection, table: str, found: Sequence[tuple[int, float]]) -> list[Hit]:
    """The hits of these (row, score) pairs, in their order; a row that was purged meanwhile is left out."""
    sql = (
        f"SELECT r.row, {_CHUNK_COLUMNS}, {RECORD_COLUMNS} FROM {table} r "  # noqa: S608  # names from constants
        "JOIN chunks c ON (c.collection, c.version, c.position) = (r.collection, r.version, r.position) "
        "JOIN versions v ON (v.collection, v.version) = (r.collection, r.version) "
        "WHERE r.row IN (SELECT value FROM json_each(?))"
    )
    rows = {row[0]: row[1:] for row in connection.execute(sql, (json.dumps([row for row, _ in found]),))}
    return [
        Hit(_read_chunk(rows[row]), read_record(rows[row][_CHUNK_WIDTH:]), score) for row, score in found if row in rows
    ]


def read_chunks(connection: sqlite3.Connection, table: str, collection: int, version: int) -> list[Chunk]:
    """The chunks of one version that this leg holds, by position."""
    sql = (
        f"SELECT {_CHUNK_COLUMNS} FROM {table} r "  # noqa: S608  # names from constants
        "JOIN chunks c ON (c.collection, c.version, c.position) = (r.collection, r.version, r.position) "
        "WHERE r.collection = ? AND r.version = ? ORDER BY r.position"
    )
    return [_read_chunk(row) for row in connection.execute(sql, (collection, version))]


def select_chunks(
    connection: sqlite3.Connection, table: str, collection: int, which: Clause, *, columns: str = ""
) -> list[tuple[Chunk, Sequence[Any]]]:
    """The chunks that `which` (of the leg's row `r`) chooses, by version and position, with more columns of theirs."""
    sql = (
        f"SELECT {_CHUNK_COLUMNS}{columns} FROM {table} r "  # noqa: S608  # names from constants
        "JOIN chunks c ON (c.collection, c.version, c.position) = (r.collection, r.version, r.position) "
        f"WHERE r.collection = ? AND {which.sql} ORDER BY r.version, r.position"
    )
    rows = connection.execute(sql, (collection, *which.params))
    return [(_read_chunk(row), row[_CHUNK_WIDTH:]) for row in rows]


def _read_chunk(row: Sequence[Any]) -> Chunk:
    version, position, heading, is_prefix, text, section, page, start_char, end_char = row[:_CHUNK_WIDTH]
    return Chunk(
        chunk_id=chunk_id(version, position),
        version=version,
        position=position,
        text=text,
        embed_text=heading + text if is_prefix else heading,
        section=section,
        page=page,
        start_char=start_char,
        end_char=end_char,
    )


def remove_unheld_chunks(connection: sqlite3.Connection, collection: int, which: Clause) -> None:
    """Delete the chunks of some versions that no leg holds any more; `which` speaks of `chunks.version`."""
    unheld = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {table} r WHERE (r.collection, r.version, r.position) = "  # noqa: S608  # constants
        "(chunks.collection, chunks.version, chunks.position))"
        for table in LEG_TABLES
    )
    sql = f"DELETE FROM chunks WHERE collection = ? AND {which.sql} AND {unheld}"  # noqa: S608  # constants
    connection.execute(sql, (collection, *which.params))


def remove_records(connection: sqlite3.Connection, collection: int, versions: Sequence[int] | None) -> None:
    """Delete records and texts of these versions; None: of the whole collection."""
    which = Clause("1") if versions is None else among("version", versions)
    for table in ("versions", "metadata", "readers", "texts"):
        sql = f"DELETE FROM {table} WHERE collection = ? AND {which.sql}"  # noqa: S608  # names from constants
        connection.execute(sql, (collection, *which.params))


def _encode(metadata: Metadata) -> str:
    return json.dumps({name: [type_of(value).value, stored(value)] for name, value in metadata.items()})


def _decode(text: str) -> dict[str, Scalar]:
    return {name: _scalar(FieldType(kind), value) for name, (kind, value) in json.loads(text).items()}


def _scalar(kind: FieldType, value: Any) -> Scalar:
    match kind:
        case FieldType.STRING:
            return str(value)
        case FieldType.NUMBER:
            return float(value)
        case FieldType.BOOL:
            return bool(value)
        case FieldType.TIME:
            return from_micros(value)
