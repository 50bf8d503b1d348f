"""The catalogue's document versions and their texts on SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, DocumentNotFound
from retriever.documents import TextBlock
from retriever.search.embedded.database import Database
from retriever.search.embedded.rows import RECORD_COLUMNS, read_record, remove_records, write_record
from retriever.search.embedded.schema import Clause, collection_id, make_collection_id, readable_by, seen_by
from retriever.search.embedded.schema import among as chosen
from retriever.search.embedded.sql_filter import compile_filter
from retriever.search.outline import from_outline, to_outline
from retriever.types import DocumentRecord, Scope, Snapshot
from retriever.upkeep.ports import StoredVersion

PLACE: Final = "catalogue"


class SqliteRecords:
    """DocumentRecords and RecordSurvey."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self,
        tenant: str,
        uid: str,
        records: Sequence[tuple[DocumentRecord, str]],
        *,
        budget: Budget,
        blocks: Sequence[Sequence[TextBlock] | None] = (),
    ) -> None:
        """See retriever.ports.DocumentRecords."""

        def work(connection: sqlite3.Connection) -> None:
            collection = make_collection_id(connection, tenant, uid)
            for (record, text), known in zip_longest(records, blocks):
                write_record(connection, collection, record)
                values = (collection, record.version, text, to_outline(known))
                connection.execute("INSERT OR IGNORE INTO texts VALUES (?, ?, ?, ?)", values)

        await self._database.write(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def visible(
        self, tenant: str, snapshot: Snapshot, document_ids: Sequence[str], *, budget: Budget
    ) -> Mapping[str, DocumentRecord]:
        """See retriever.ports.DocumentRecords."""

        def work(connection: sqlite3.Connection) -> dict[str, DocumentRecord]:
            collection = collection_id(connection, tenant, snapshot.uid)
            seen = seen_by(snapshot, "v.version")
            sql = (
                f"SELECT {RECORD_COLUMNS} FROM versions v WHERE v.collection = ? "  # noqa: S608  # constants
                f"AND v.document_id IN (SELECT value FROM json_each(?)) AND {seen.sql} ORDER BY v.version"
            )
            rows = connection.execute(sql, (collection, json.dumps(list(document_ids)), *seen.params))
            return {record.document_id: record for record in map(read_record, rows)}

        return await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def page(self, scope: Scope, *, after: str, limit: int, budget: Budget) -> tuple[list[DocumentRecord], int]:
        """See retriever.ports.DocumentRecords."""
        where = _in_scope(scope)
        return await self._page(scope.tenant, scope.snapshot.uid, where, after, limit=limit, budget=budget)

    async def _page(
        self, tenant: str, uid: str, where: Clause, after: str, *, limit: int, budget: Budget
    ) -> tuple[list[DocumentRecord], int]:
        def work(connection: sqlite3.Connection) -> tuple[list[DocumentRecord], int]:
            collection = collection_id(connection, tenant, uid)
            inside = f"FROM versions v WHERE v.collection = ? AND {where.sql}"
            total = connection.execute(f"SELECT count(*) {inside}", (collection, *where.params)).fetchone()[0]
            sql = f"SELECT {RECORD_COLUMNS} {inside} AND v.document_id > ? ORDER BY v.document_id LIMIT ?"
            rows = connection.execute(sql, (collection, *where.params, after, limit))
            return [read_record(row) for row in rows], total

        return await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def all(
        self, tenant: str, snapshot: Snapshot, *, after: str, limit: int, budget: Budget
    ) -> tuple[list[DocumentRecord], int]:
        """See retriever.ports.RecordSurvey."""
        return await self._page(tenant, snapshot.uid, seen_by(snapshot, "v.version"), after, limit=limit, budget=budget)

    async def count(self, scope: Scope, *, budget: Budget) -> tuple[int, int]:
        """See retriever.ports.DocumentRecords."""
        where = _in_scope(scope)

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            collection = collection_id(connection, scope.tenant, scope.snapshot.uid)
            sql = (
                "SELECT count(*), coalesce(sum(v.chunk_count), 0) FROM versions v "  # noqa: S608  # constants
                f"WHERE v.collection = ? AND {where.sql}"
            )
            documents, chunks = connection.execute(sql, (collection, *where.params)).fetchone()
            return documents, chunks

        return await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def text(self, tenant: str, uid: str, version: int, *, budget: Budget) -> str:
        """See retriever.ports.DocumentRecords."""
        return (await self._stored(tenant, uid, version, budget))[0]

    async def versions(
        self, tenant: str, uid: str, among: Sequence[int], *, limit: int, budget: Budget
    ) -> list[StoredVersion]:
        """See retriever.upkeep.ports.RecordAudit."""

        def work(connection: sqlite3.Connection) -> list[StoredVersion]:
            which = chosen("v.version", among)
            sql = (
                f"SELECT {RECORD_COLUMNS}, EXISTS (SELECT 1 FROM texts t WHERE "  # noqa: S608  # constants
                "(t.collection, t.version) = (v.collection, v.version)) FROM versions v "
                f"WHERE v.collection = ? AND {which.sql} ORDER BY v.version LIMIT ?"
            )
            rows = connection.execute(sql, (collection_id(connection, tenant, uid), *which.params, limit))
            return [StoredVersion(read_record(row), has_text=bool(row[-1])) for row in rows]

        return await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def counts(self, tenant: str, snapshot: Snapshot, *, budget: Budget) -> tuple[int, int]:
        """See retriever.upkeep.ports.RecordAudit."""

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            seen = seen_by(snapshot, "v.version")
            sql = (
                "SELECT count(*), coalesce(sum(v.chunk_count), 0) FROM versions v "  # noqa: S608  # constants
                f"WHERE v.collection = ? AND {seen.sql}"
            )
            collection = collection_id(connection, tenant, snapshot.uid)
            documents, chunks = connection.execute(sql, (collection, *seen.params)).fetchone()
            return documents, chunks

        return await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def blocks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> tuple[TextBlock, ...] | None:
        """See retriever.upkeep.ports.RecordAudit."""
        return from_outline((await self._stored(tenant, uid, version, budget))[1])

    async def _stored(self, tenant: str, uid: str, version: int, budget: Budget) -> tuple[str, str | None]:
        """A version's text and outline."""

        def work(connection: sqlite3.Connection) -> tuple[str, str | None]:
            collection = collection_id(connection, tenant, uid)
            sql = "SELECT text, outline FROM texts WHERE collection = ? AND version = ?"
            row = connection.execute(sql, (collection, version)).fetchone()
            if row is None:
                raise DocumentNotFound("there is no such document")
            return str(row[0]), row[1]

        return await self._database.read(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> None:
        """See retriever.ports.DocumentRecords."""

        def work(connection: sqlite3.Connection) -> None:
            collection = collection_id(connection, tenant, uid)
            if collection is not None:
                remove_records(connection, collection, versions or None)

        await self._database.write(work, failure=CatalogueUnavailable, place=PLACE, budget=budget)


def _in_scope(scope: Scope) -> Clause:
    clauses = (seen_by(scope.snapshot, "v.version"), readable_by(scope.groups), compile_filter(scope.filter))
    return Clause(" AND ".join(c.sql for c in clauses), tuple(value for c in clauses for value in c.params))
