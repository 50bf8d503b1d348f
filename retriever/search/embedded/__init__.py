"""The embedded set of leaves: search and catalogue in one SQLite file, for one process.

What it does not do: replicate, serve two processes, or search more than memory holds (see each adapter).
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from retriever.search.embedded.database import Database
from retriever.search.embedded.dense import SqliteDenseIndex
from retriever.search.embedded.folder import locked_folder
from retriever.search.embedded.heads import SqliteHeads, SqliteLeases
from retriever.search.embedded.lexical import SqliteLexicalIndex
from retriever.search.embedded.records import SqliteRecords
from retriever.search.embedded.schema import create

__all__ = ["EmbeddedStore", "SqliteDenseIndex", "SqliteHeads", "SqliteLexicalIndex", "SqliteRecords", "open_embedded"]

FILE_NAME: Final = "askmesh.sqlite3"
OPENING_BUDGET_S: Final = 60.0  # recovering a large WAL after a crash reads all of it
READER_THREADS: Final = 4  # both legs of two searches at once; NumPy and SQLite let go of the interpreter


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """Every port of the embedded store, over one file."""

    dense: SqliteDenseIndex
    lexical: SqliteLexicalIndex
    heads: SqliteHeads
    records: SqliteRecords
    leases: SqliteLeases


@asynccontextmanager
async def open_embedded(folder: Path, *, reader_threads: int = READER_THREADS) -> AsyncIterator[EmbeddedStore]:
    """Lock the data folder, open the store in it, and finish what a crash left half removed.

    Raises:
        DataFolderLocked: another process holds the folder.
        StorageFull: the folder cannot be written.
        CatalogueUnavailable: the file is damaged, or from another version.
    """
    with locked_folder(folder):
        database = Database(folder / FILE_NAME, reader_threads=reader_threads)
        try:
            budget = Budget.of(OPENING_BUDGET_S)
            await database.write(create, failure=CatalogueUnavailable, place="catalogue", budget=budget, durable=True)
            store = EmbeddedStore(
                dense=SqliteDenseIndex(database),
                lexical=SqliteLexicalIndex(database),
                heads=SqliteHeads(database),
                records=SqliteRecords(database),
                leases=SqliteLeases(database),
            )
            await _drop_orphans(store, database, budget)
            yield store
        finally:
            database.close()


async def _drop_orphans(store: EmbeddedStore, database: Database, budget: Budget) -> None:
    """Remove what belongs to no head: its collection was dropped, and the process died before its data was."""

    def work(connection: sqlite3.Connection) -> list[tuple[str, str]]:
        sql = (
            "SELECT tenant, uid FROM collections k "
            "WHERE NOT EXISTS (SELECT 1 FROM heads h WHERE h.tenant = k.tenant AND h.uid = k.uid)"
        )
        return connection.execute(sql).fetchall()

    for tenant, uid in await database.read(work, failure=CatalogueUnavailable, place="catalogue", budget=budget):
        await store.dense.drop(tenant, uid, budget=budget)
        await store.lexical.drop(tenant, uid, budget=budget)
        await store.records.purge(tenant, uid, (), budget=budget)
