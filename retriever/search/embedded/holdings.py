"""What the embedded store holds, by collection: one file, so one name for all three ports."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from retriever.search.embedded.database import Database
from retriever.search.embedded.dense import SqliteDenseIndex
from retriever.search.embedded.lexical import SqliteLexicalIndex
from retriever.search.embedded.records import SqliteRecords

PLACE: Final = "catalogue"
_TABLES: Final = ("dense_rows", "lexical_rows", "versions", "texts")


class SqliteHoldings:
    """Holdings. A name is tenant and uid themselves: nobody else reads them here."""

    def __init__(
        self, database: Database, dense: SqliteDenseIndex, lexical: SqliteLexicalIndex, records: SqliteRecords
    ) -> None:
        self._database = database
        self._dense = dense
        self._lexical = lexical
        self._records = records

    def name_of(self, tenant: str, uid: str) -> str:
        """See retriever.upkeep.ports.Holdings."""
        return json.dumps([tenant, uid])

    async def names(self, *, budget: Budget) -> set[str]:
        """See retriever.upkeep.ports.Holdings."""
        held = " OR ".join(f"EXISTS (SELECT 1 FROM {table} t WHERE t.collection = k.id)" for table in _TABLES)  # noqa: S608

        def work(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            return connection.execute(f"SELECT tenant, uid FROM collections k WHERE {held}").fetchall()  # noqa: S608

        rows = await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)
        return {self.name_of(tenant, uid) for tenant, uid in rows}

    async def drop_named(self, name: str, *, budget: Budget) -> None:
        """See retriever.upkeep.ports.Holdings."""
        tenant, uid = json.loads(name)
        await self._dense.drop(tenant, uid, budget=budget)
        await self._lexical.drop(tenant, uid, budget=budget)
        await self._records.purge(tenant, uid, (), budget=budget)
