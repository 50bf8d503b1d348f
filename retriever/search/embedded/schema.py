"""The tables of the embedded store, and the small lookups every adapter shares.

Each leg has its own rows, as two stores in a cluster have; what both show of a chunk, its text and its document, is
kept once and goes with the last leg that holds it. `collection` is a small number standing for (tenant, uid): whoever
asks with another tenant finds no number, hence no row. Times are microseconds since 1970.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from chassis.errors import CatalogueUnavailable
from retriever.types import Snapshot

VERSION: Final = 2  # of these tables, in the file's user_version; 0 is a new file

_TABLES: Final = """
CREATE TABLE heads (tenant TEXT, name TEXT, revision INTEGER NOT NULL, generation INTEGER NOT NULL, uid TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, name)) WITHOUT ROWID;
CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, beats INTEGER NOT NULL, revision INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE revisions (last INTEGER NOT NULL);
INSERT INTO revisions VALUES (0);
CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT, uid TEXT, UNIQUE (tenant, uid));
CREATE TABLE versions (collection INTEGER, version INTEGER, document_id TEXT, title TEXT, uri TEXT, source TEXT,
    content_type TEXT, metadata TEXT, groups TEXT, content_hash TEXT, chunk_count INTEGER, text_chars INTEGER,
    size_bytes INTEGER, updated_at INTEGER, source_hash TEXT NOT NULL DEFAULT '', PRIMARY KEY (collection, version))
    WITHOUT ROWID;
CREATE INDEX versions_by_id ON versions (collection, document_id);
CREATE TABLE metadata (collection INTEGER, version INTEGER, name TEXT, value, PRIMARY KEY (collection, version, name))
    WITHOUT ROWID;
CREATE TABLE readers (collection INTEGER, version INTEGER, reader TEXT, PRIMARY KEY (collection, version, reader))
    WITHOUT ROWID;
CREATE TABLE texts (collection INTEGER, version INTEGER, text TEXT, outline TEXT, UNIQUE (collection, version));
CREATE TABLE chunks (collection INTEGER, version INTEGER, position INTEGER, heading TEXT, is_prefix INTEGER, text TEXT,
    section TEXT, page INTEGER, start_char INTEGER, end_char INTEGER, UNIQUE (collection, version, position));
CREATE TABLE dense_rows (row INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER, version INTEGER, position INTEGER,
    vector BLOB, UNIQUE (collection, version, position));
CREATE INDEX dense_by_row ON dense_rows (collection, row, version);
CREATE TABLE lexical_rows (row INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER, version INTEGER, position INTEGER,
    UNIQUE (collection, version, position));
CREATE INDEX lexical_by_row ON lexical_rows (collection, row, version);
"""
# What brings a file of each older version to the next one: added columns, which cost nothing however large it is.
_UPGRADES: Final = {
    1: (
        "ALTER TABLE versions ADD COLUMN source_hash TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE texts ADD COLUMN outline TEXT",
    )
}


class Clause(NamedTuple):
    """A piece of SQL and its parameters; values never become part of the text."""

    sql: str
    params: tuple[object, ...] = ()


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, and bring those of an older one up to date. Runs inside a write transaction."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == VERSION:
        return
    if not 0 <= found < VERSION:
        raise CatalogueUnavailable("the data folder was written by a newer version of askmesh: use that")
    steps = [_TABLES.split(";")] if found == 0 else [_UPGRADES[version] for version in range(found, VERSION)]
    for statement in chain.from_iterable(steps):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def collection_id(connection: sqlite3.Connection, tenant: str, uid: str) -> int | None:
    """The number of (tenant, uid); None when nothing was ever written under it."""
    row = connection.execute("SELECT id FROM collections WHERE tenant = ? AND uid = ?", (tenant, uid)).fetchone()
    return None if row is None else int(row[0])


def make_collection_id(connection: sqlite3.Connection, tenant: str, uid: str) -> int:
    """As `collection_id`, given out when there is none."""
    connection.execute("INSERT OR IGNORE INTO collections (tenant, uid) VALUES (?, ?)", (tenant, uid))
    found = collection_id(connection, tenant, uid)
    assert found is not None
    return found


def next_revision(connection: sqlite3.Connection) -> int:
    """A compare-and-swap token that was never used: one that comes back would let a stale writer win."""
    connection.execute("UPDATE revisions SET last = last + 1")
    return int(connection.execute("SELECT last FROM revisions").fetchone()[0])


def among(column: str, versions: Sequence[int]) -> Clause:
    """`column` is one of these versions; a `range` is compared by its ends, however long."""
    if isinstance(versions, range):
        return Clause(f"{column} >= ? AND {column} < ?", (versions.start, versions.stop))
    sql = f"{column} IN (SELECT value FROM json_each(?))"  # noqa: S608  # a column's name
    return Clause(sql, (json.dumps(list(versions)),))


def seen_by(snapshot: Snapshot, column: str) -> Clause:
    """`Snapshot.sees(column)` as SQL."""
    inside = f"({column} >> 16) BETWEEN json_extract(value, '$[0]') AND json_extract(value, '$[1]')"
    sql = (
        f"({column} >> 16) <= ? AND {column} NOT IN (SELECT value FROM json_each(?)) "  # noqa: S608  # a column's name
        f"AND NOT EXISTS (SELECT 1 FROM json_each(?) WHERE {inside})"
    )
    return Clause(sql, (snapshot.high, json.dumps(sorted(snapshot.dead)), json.dumps(snapshot.excluded)))


def readable_by(groups: Sequence[str]) -> Clause:
    """The version `v` may be read by one of these groups."""
    sql = (
        "EXISTS (SELECT 1 FROM readers g WHERE g.collection = v.collection AND g.version = v.version "
        "AND g.reader IN (SELECT value FROM json_each(?)))"
    )
    return Clause(sql, (json.dumps(list(groups)),))
