"""The half of ChunkStore both legs share: sealing, purging and dropping rows of their own table."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import numpy as np

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from embedding.ports import FloatArray
from retriever.search.embedded.database import Database
from retriever.search.embedded.resident import ResidentRows
from retriever.search.embedded.rows import (
    read_chunks,
    remove_unheld_chunks,
    select_chunks,
    write_chunks,
    write_record,
)
from retriever.search.embedded.schema import Clause, among, collection_id, make_collection_id
from retriever.types import Chunk, DocumentRecord, version_of
from retriever.upkeep.ports import STEP_S, Place

AUDIT_ROWS: Final = 10_000  # some 10 ms of one reader thread
PURGE_ROWS: Final = 1_000  # a purge holds the one writer for some 20 ms, then others may write


def stored_records(
    connection: sqlite3.Connection, tenant: str, uid: str, documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]]
) -> int:
    """Store what both legs need of these documents; returns the collection's number."""
    collection = make_collection_id(connection, tenant, uid)
    for record, chunks in documents:
        write_record(connection, collection, record)
        write_chunks(connection, collection, chunks)
    return collection


class SqliteChunks:
    """ChunkReader, and ChunkStore without `write`; `table` is a constant of the leg."""

    def __init__(self, database: Database, resident: ResidentRows, *, table: str, place: str) -> None:
        self._database = database
        self._resident = resident
        self._table = table
        self._place = place

    async def seal(self, tenant: str, uid: str, number: int, *, budget: Budget) -> int:
        """See retriever.ports.ChunkStore. Counted in the writer's thread, so everything written is counted; the disk
        has it when it has the head's swap, which comes later in the same log (database, rule 3)."""

        def work(connection: sqlite3.Connection) -> int:
            collection = collection_id(connection, tenant, uid)
            which = among("version", range(version_of(number, 0), version_of(number + 1, 0)))
            return 0 if collection is None else self._count(connection, collection, which)

        return await self._database.write(work, failure=SearchUnavailable, place=self._place, budget=budget)

    async def read(
        self, tenant: str, uid: str, versions: Sequence[int], positions: range, *, budget: Budget
    ) -> tuple[list[Chunk], FloatArray | None]:
        """See retriever.ports.ChunkReader."""
        columns = ", r.vector" if self._resident.has_vectors else ""
        some = among("r.version", versions)
        which = Clause(
            f"{some.sql} AND r.position BETWEEN ? AND ?", (*some.params, positions.start, positions.stop - 1)
        )

        def work(connection: sqlite3.Connection) -> list[tuple[Chunk, Sequence[Any]]]:
            collection = collection_id(connection, tenant, uid)
            if collection is None:
                return []
            return select_chunks(connection, self._table, collection, which, columns=columns)

        rows = await self._database.read(work, failure=SearchUnavailable, place=self._place, budget=budget)
        chunks = [chunk for chunk, _ in rows]
        if not self._resident.has_vectors:
            return chunks, None
        return chunks, np.array([np.frombuffer(rest[0], np.float32) for _, rest in rows], np.float32)

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> int:
        """See retriever.ports.ChunkStore."""
        return await self._remove(tenant, uid, among("version", versions), budget)

    async def drop(self, tenant: str, uid: str, *, budget: Budget) -> None:
        """See retriever.ports.ChunkStore."""
        while await self._remove(tenant, uid, Clause("1"), budget):
            budget.check(self._place)

    async def found(self, tenant: str, uid: str, *, budget: Budget) -> AsyncIterator[Sequence[Place]]:
        """See retriever.upkeep.ports.ChunkAudit."""
        last = 0
        sql = (
            f"SELECT row, version, position FROM {self._table} "  # noqa: S608  # names from constants
            f"WHERE collection = ? AND row > ? ORDER BY row LIMIT {AUDIT_ROWS}"
        )
        while True:

            def work(connection: sqlite3.Connection, after: int = last) -> list[tuple[int, int, int]]:
                return connection.execute(sql, (collection_id(connection, tenant, uid), after)).fetchall()

            step = budget.within(STEP_S)
            rows = await self._database.read(work, failure=SearchUnavailable, place=self._place, budget=step)
            if not rows:
                return
            yield [(version, position) for _, version, position in rows]
            last = rows[-1][0]

    async def chunks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> list[Chunk]:
        """See retriever.upkeep.ports.ChunkAudit."""

        def work(connection: sqlite3.Connection) -> list[Chunk]:
            collection = collection_id(connection, tenant, uid)
            return [] if collection is None else read_chunks(connection, self._table, collection, version)

        return await self._database.read(work, failure=SearchUnavailable, place=self._place, budget=budget)

    async def _remove(self, tenant: str, uid: str, which: Clause, budget: Budget) -> int:
        def work(connection: sqlite3.Connection) -> tuple[int | None, int]:
            collection = collection_id(connection, tenant, uid)
            if collection is None:
                return None, 0
            return collection, self._remove_some(connection, collection, which)

        def forget(result: tuple[int | None, int]) -> None:
            if result[0] is not None:
                self._resident.forget(result[0])

        _, remaining = await self._database.write(
            work, failure=SearchUnavailable, place=self._place, budget=budget, after=forget
        )
        return remaining

    def _remove_some(self, connection: sqlite3.Connection, collection: int, which: Clause) -> int:
        sql = (
            f"SELECT row, version, position FROM {self._table} "  # noqa: S608  # names from constants
            f"WHERE collection = ? AND {which.sql} LIMIT {PURGE_ROWS}"
        )
        doomed = connection.execute(sql, (collection, *which.params)).fetchall()
        self._unindex(connection, collection, [row for row, _, _ in doomed])
        connection.executemany(f"DELETE FROM {self._table} WHERE row = ?", [(row,) for row, _, _ in doomed])  # noqa: S608
        for version in {version for _, version, _ in doomed}:
            remove_unheld_chunks(connection, collection, Clause("chunks.version = ?", (version,)))
        return self._count(connection, collection, which)

    def _unindex(self, connection: sqlite3.Connection, collection: int, rows: Sequence[int]) -> None:
        """Take rows out of what this leg keeps beside its table; they still exist."""

    def _count(self, connection: sqlite3.Connection, collection: int, which: Clause) -> int:
        sql = f"SELECT count(*) FROM {self._table} WHERE collection = ? AND {which.sql}"  # noqa: S608  # constants
        return int(connection.execute(sql, (collection, *which.params)).fetchone()[0])
