"""The lexical leg on SQLite FTS5: BM25 over Porter stems, one full-text table a collection.

One table a collection uid, because BM25 counts words over a whole table: nobody's scores depend on another tenant's
documents. Versions that are dead or not committed count in the statistics until they are purged, nothing more.
Chinese and Japanese are indexed a second time, by pairs of signs, for a run of them is one word to the engine; so are
versions, without their v. A table made before that has no column for them and goes on without until its collection is
reindexed: what a row was indexed under must be told again, to the letter, when it goes.
Does not: segment Thai, or search by prefix or phrase.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from embedding.ports import FloatArray
from retriever.search.embedded.database import Database
from retriever.search.embedded.legs import SqliteChunks, stored_records
from retriever.search.embedded.resident import ResidentRows, View
from retriever.search.embedded.rows import read_hits, split_heading
from retriever.search.embedded.schema import collection_id, make_collection_id
from retriever.search.embedded.words import match_expression, other_words
from retriever.types import Chunk, DocumentRecord, Hit, Scope

PLACE: Final = "lexical search"
HEADING_WEIGHT: Final = 1.0
TEXT_WEIGHT: Final = 1.0
_COLUMNS: Final = ("heading", "text", "others")
_MARGIN: Final = 2  # twice the matches that would do if visible ones were spread evenly
_ALL: Final = -1  # no LIMIT, in SQLite


class SqliteLexicalIndex(SqliteChunks):
    """LexicalLeg and ChunkStore over `lexical_rows` and the collections' `words_<number>` tables."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, ResidentRows("lexical_rows", has_vectors=False), table="lexical_rows", place=PLACE)

    async def search(self, text: str, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        """See retriever.ports.LexicalLeg."""
        expression = match_expression(text)

        def work(connection: sqlite3.Connection) -> list[Hit]:
            collection = collection_id(connection, scope.tenant, scope.snapshot.uid)
            if collection is None or not expression or not _has_words(connection, collection):
                return []
            view = self._resident.view(connection, collection, scope)
            return read_hits(
                connection, "lexical_rows", _best(connection, collection, view, expression=expression, limit=limit)
            )

        return await self._database.read(work, failure=SearchUnavailable, place=PLACE, budget=budget)

    async def write(
        self,
        tenant: str,
        uid: str,
        documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]],
        vectors: FloatArray | None,  # noqa: ARG002  # the port's: this leg keeps words
        *,
        budget: Budget,
    ) -> None:
        """See retriever.ports.ChunkStore."""

        def work(connection: sqlite3.Connection) -> None:
            collection = stored_records(connection, tenant, uid, documents)
            if not _has_words(connection, collection):
                _make_words(connection, collection)
            for chunk in chain.from_iterable(chunks for _, chunks in documents):
                _index(connection, collection, chunk)

        await self._database.write(work, failure=SearchUnavailable, place=PLACE, budget=budget)

    async def drop(self, tenant: str, uid: str, *, budget: Budget) -> None:
        """See retriever.ports.ChunkStore. The words go first, all at once: one by one costs more."""

        def work(connection: sqlite3.Connection) -> None:
            collection = make_collection_id(connection, tenant, uid)
            connection.execute(f"DROP TABLE IF EXISTS words_{collection}")

        await self._database.write(work, failure=SearchUnavailable, place=PLACE, budget=budget)
        await super().drop(tenant, uid, budget=budget)

    def _unindex(self, connection: sqlite3.Connection, collection: int, rows: Sequence[int]) -> None:
        """A contentless table forgets a row when it is told again what it had indexed."""
        if not _has_words(connection, collection):
            return
        select = (
            "SELECT r.row, c.heading, c.text FROM lexical_rows r JOIN chunks c "
            "ON (c.collection, c.version, c.position) = (r.collection, r.version, r.position) WHERE r.row = ?"
        )
        columns = _columns(connection, collection)
        names, marks = ", ".join(columns), ", ?" * len(columns)
        sql = f"INSERT INTO words_{collection} (words_{collection}, rowid, {names}) VALUES ('delete', ?{marks})"  # noqa: S608  # own names
        for row in rows:
            for number, heading, text in connection.execute(select, (row,)).fetchall():
                connection.execute(sql, (number, *_indexed(heading, text)[: len(columns)]))


def _has_words(connection: sqlite3.Connection, collection: int) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (f"words_{collection}",)).fetchone() is not None


def _make_words(connection: sqlite3.Connection, collection: int) -> None:
    connection.execute(
        f"CREATE VIRTUAL TABLE words_{collection} USING fts5 "
        f"({', '.join(_COLUMNS)}, content = '', tokenize = 'porter unicode61 remove_diacritics 2')"
    )


def _columns(connection: sqlite3.Connection, collection: int) -> tuple[str, ...]:
    """Those of the collection's table, in order."""
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (f"words_{collection}",)).fetchall()
    return tuple(name for (name,) in found)


def _indexed(heading: str, text: str) -> tuple[str, str, str]:
    """What `_COLUMNS` hold of a chunk."""
    return heading, text, other_words(f"{heading} {text}")


def _index(connection: sqlite3.Connection, collection: int, chunk: Chunk) -> None:
    fresh = connection.execute(
        "INSERT OR IGNORE INTO lexical_rows (collection, version, position) VALUES (?, ?, ?)",
        (collection, chunk.version, chunk.position),
    )
    if fresh.rowcount:
        columns = _columns(connection, collection)
        marks = ", ?" * len(columns)
        sql = f"INSERT INTO words_{collection} (rowid, {', '.join(columns)}) VALUES (?{marks})"  # noqa: S608  # own names
        connection.execute(sql, (fresh.lastrowid, *_indexed(split_heading(chunk)[0], chunk.text)[: len(columns)]))


def _best(
    connection: sqlite3.Connection, collection: int, view: View, *, expression: str, limit: int
) -> list[tuple[int, float]]:
    """The best matches among the visible rows: the first `limit` visible ones of all matches in order of score.

    The engine is asked for so many matches that enough of them should be visible, and for all when they were not. A
    bounded sort by bm25() takes half the time of `ORDER BY rank`, measured on 20k chunks.
    """
    sql = (
        f"SELECT rowid, bm25(words_{collection}, {HEADING_WEIGHT}, {TEXT_WEIGHT}) AS cost FROM words_{collection} "  # noqa: S608
        f"WHERE words_{collection} MATCH ? ORDER BY cost, rowid LIMIT ?"
    )
    share = float(view.visible.mean()) if len(view.visible) else 0.0
    found: list[tuple[int, float]] = []
    if share == 0.0:
        return found
    for enough in (int(limit / share * _MARGIN) + _MARGIN, _ALL):
        matches = connection.execute(sql, (expression, enough)).fetchall()
        found = _visible(view, matches)[:limit]
        if len(found) == limit or len(matches) < enough:
            break
    return found


def _visible(view: View, matches: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The matches the view sees, their costs turned into scores."""
    rows = np.fromiter((row for row, _ in matches), np.int64)
    at = np.minimum(np.searchsorted(view.rows, rows), len(view.rows) - 1)
    known = (view.rows[at] == rows) & view.visible[at]
    return [(row, -cost) for (row, cost), is_visible in zip(matches, known, strict=True) if is_visible]
