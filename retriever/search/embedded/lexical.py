"""The lexical leg on SQLite FTS5: BM25 over Porter stems, one full-text table a collection.

One table a collection uid, because BM25 counts words over a whole table: nobody's scores depend on another tenant's
documents. Versions that are dead or not committed count in the statistics until they are purged, nothing more.
Does not: segment Chinese, Japanese or Thai (a run of characters is one word), or search by prefix or phrase.
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
from retriever.search.embedded.words import match_expression
from retriever.types import Chunk, DocumentRecord, Hit, Scope

PLACE: Final = "lexical search"
HEADING_WEIGHT: Final = 1.0
TEXT_WEIGHT: Final = 1.0
_FETCH_ROWS: Final = 256  # matches come best first; most searches need one batch


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
        sql = (
            f"INSERT INTO words_{collection} (words_{collection}, rowid, heading, text) "  # noqa: S608  # a number
            "SELECT 'delete', r.row, c.heading, c.text FROM lexical_rows r JOIN chunks c "
            "ON (c.collection, c.version, c.position) = (r.collection, r.version, r.position) WHERE r.row = ?"
        )
        connection.executemany(sql, [(row,) for row in rows])


def _has_words(connection: sqlite3.Connection, collection: int) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (f"words_{collection}",)).fetchone() is not None


def _make_words(connection: sqlite3.Connection, collection: int) -> None:
    connection.execute(
        f"CREATE VIRTUAL TABLE words_{collection} USING fts5 "
        "(heading, text, content = '', tokenize = 'porter unicode61 remove_diacritics 2')"
    )


def _index(connection: sqlite3.Connection, collection: int, chunk: Chunk) -> None:
    fresh = connection.execute(
        "INSERT OR IGNORE INTO lexical_rows (collection, version, position) VALUES (?, ?, ?)",
        (collection, chunk.version, chunk.position),
    )
    if fresh.rowcount:
        sql = f"INSERT INTO words_{collection} (rowid, heading, text) VALUES (?, ?, ?)"  # noqa: S608  # a number
        connection.execute(sql, (fresh.lastrowid, split_heading(chunk)[0], chunk.text))


def _best(
    connection: sqlite3.Connection, collection: int, view: View, *, expression: str, limit: int
) -> list[tuple[int, float]]:
    """The best matches among the visible rows. The engine sorts all matches by score anyway; the first `limit` visible
    ones of that order are exactly the best visible ones, and only so many are looked at."""
    sql = (
        f"SELECT rowid, rank FROM words_{collection} WHERE words_{collection} MATCH ? "  # noqa: S608  # a number
        f"AND rank MATCH 'bm25({HEADING_WEIGHT}, {TEXT_WEIGHT})' ORDER BY rank"
    )
    if not view.visible.any():
        return []
    found: list[tuple[int, float]] = []
    cursor = connection.execute(sql, (expression,))
    while len(found) < limit and (batch := cursor.fetchmany(_FETCH_ROWS)):
        rows = np.array([row for row, _ in batch], np.int64)
        at = np.minimum(np.searchsorted(view.rows, rows), len(view.rows) - 1)
        known = (view.rows[at] == rows) & view.visible[at]
        found += [(row, -rank) for (row, rank), is_visible in zip(batch, known, strict=True) if is_visible]
    return found[:limit]
