"""The embedded set of leaves: search and catalogue in one SQLite file, for one process.

What it does not do: replicate, serve two processes, or search more than memory holds (see each adapter).
"""

from __future__ import annotations

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
from retriever.search.embedded.holdings import SqliteHoldings
from retriever.search.embedded.lexical import SqliteLexicalIndex
from retriever.search.embedded.records import SqliteRecords
from retriever.search.embedded.schema import create
from retriever.upkeep.sweep import sweep_alone

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
    holdings: SqliteHoldings


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
            dense, lexical, records = SqliteDenseIndex(database), SqliteLexicalIndex(database), SqliteRecords(database)
            store = EmbeddedStore(
                dense=dense,
                lexical=lexical,
                heads=SqliteHeads(database),
                records=records,
                leases=SqliteLeases(database),
                holdings=SqliteHoldings(database, dense, lexical, records),
            )
            await sweep_alone(store.heads, store.holdings, budget=budget)
            yield store
        finally:
            database.close()
