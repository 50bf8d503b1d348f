"""The catalogue's document versions and their texts on OpenSearch, all tenants in one pair of indexes.

A tenant's documents lie on one shard (routing), and every query names the digest of tenant and uid they were stored
under. Records are searched, so a put refreshes; texts are read by id, in real time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, DocumentNotFound
from retriever.documents import TextBlock
from retriever.search.opensearch.conditions import Query, all_of, compiled, of_versions, readable_by, seen_by, values_of
from retriever.search.opensearch.engine import Call, Engine, Line
from retriever.search.opensearch.failures import Absent, IndexAbsent
from retriever.search.opensearch.layout import RECORDS, TEXTS, key_of, missing_indexes
from retriever.search.opensearch.sources import read_record, record_source
from retriever.search.outline import from_outline, to_outline
from retriever.types import DocumentRecord, Scope, Snapshot, born_of
from retriever.upkeep.ports import StoredVersion

PLACE: Final = "catalogue"
PURGE_DOCUMENTS: Final = 1_000  # a request that deletes more may outlast its caller
MAX_ROWS: Final = 10_000  # index.max_result_window


class OpenSearchRecords:
    """DocumentRecords and RecordSurvey."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._records = f"{engine.prefix}-{RECORDS}"
        self._texts = f"{engine.prefix}-{TEXTS}"

    async def put(
        self,
        tenant: str,
        uid: str,
        records: Sequence[tuple[DocumentRecord, str]],
        *,
        budget: Budget,
        blocks: Sequence[Sequence[TextBlock] | None] = (),
    ) -> None:
        """See retriever.ports.DocumentRecords. Texts first: a record that is seen has one."""
        call, scope, routing = _call(budget), key_of(tenant, uid), _routing(tenant)
        await self._create(self._texts, _text_lines(scope, records, blocks), call, routing)
        await self._create(self._records, _record_lines(scope, records), call, {**routing, "refresh": "true"})

    async def visible(
        self, tenant: str, snapshot: Snapshot, document_ids: Sequence[str], *, budget: Budget
    ) -> Mapping[str, DocumentRecord]:
        """See retriever.ports.DocumentRecords."""
        among: Query = {"terms": {"document_id": list(document_ids)}}
        query = all_of([_within(tenant, snapshot.uid), among, seen_by(snapshot)])
        body = {"query": query, "size": MAX_ROWS, "sort": [{"version": "asc"}], "_source": ["record"]}
        answer = await self._search(tenant, body, budget)
        records = [read_record(hit["_source"]["record"]) for hit in answer["hits"]["hits"]]
        return {record.document_id: record for record in records}

    async def page(self, scope: Scope, *, after: str, limit: int, budget: Budget) -> tuple[list[DocumentRecord], int]:
        """See retriever.ports.DocumentRecords."""
        return await self._page(scope.tenant, _in_scope(scope), after, limit=limit, budget=budget)

    async def all(
        self, tenant: str, snapshot: Snapshot, *, after: str, limit: int, budget: Budget
    ) -> tuple[list[DocumentRecord], int]:
        """See retriever.ports.RecordSurvey."""
        query = all_of([_within(tenant, snapshot.uid), seen_by(snapshot)])
        return await self._page(tenant, query, after, limit=limit, budget=budget)

    async def _page(
        self, tenant: str, query: Query, after: str, *, limit: int, budget: Budget
    ) -> tuple[list[DocumentRecord], int]:
        body: dict[str, Any] = {
            "query": query,
            "size": min(limit, MAX_ROWS),
            "sort": [{"document_id": "asc"}],
            "search_after": [after],
            "_source": ["record"],
            "track_total_hits": True,
        }
        hits = (await self._search(tenant, body, budget))["hits"]
        return [read_record(hit["_source"]["record"]) for hit in hits["hits"]], hits["total"]["value"]

    async def count(self, scope: Scope, *, budget: Budget) -> tuple[int, int]:
        """See retriever.ports.DocumentRecords."""
        return await self._counted(scope.tenant, _in_scope(scope), budget)

    async def _counted(self, tenant: str, query: Query, budget: Budget) -> tuple[int, int]:
        chunks = {"sum": {"field": "chunk_count"}}
        body = {"query": query, "size": 0, "track_total_hits": True, "aggs": {"chunks": chunks}}
        answer = await self._search(tenant, body, budget)
        return answer["hits"]["total"]["value"], int(answer["aggregations"]["chunks"]["value"])

    async def text(self, tenant: str, uid: str, version: int, *, budget: Budget) -> str:
        """See retriever.ports.DocumentRecords."""
        return str((await self._stored(tenant, uid, version, budget))["text"])

    async def versions(
        self, tenant: str, uid: str, among: Sequence[int], *, limit: int, budget: Budget
    ) -> list[StoredVersion]:
        """See retriever.upkeep.ports.RecordAudit. Texts are looked up by id: they are never refreshed."""
        query = all_of([_within(tenant, uid), of_versions(among)])
        body = {"query": query, "size": min(limit, MAX_ROWS), "sort": [{"version": "asc"}], "_source": ["record"]}
        hits = (await self._search(tenant, body, budget))["hits"]["hits"]
        records = [read_record(hit["_source"]["record"]) for hit in hits]
        with_text = await self._with_text(tenant, [hit["_id"] for hit in hits], budget)
        return [StoredVersion(record, hit["_id"] in with_text) for record, hit in zip(records, hits, strict=True)]

    async def _with_text(self, tenant: str, ids: Sequence[str], budget: Budget) -> set[str]:
        if not ids:
            return set()
        given = {**_routing(tenant), "_source": "false"}
        path = f"{self._texts}/_mget"
        try:
            answer = await self._engine.ask("POST", path, _call(budget), body={"ids": list(ids)}, params=given)
        except IndexAbsent as exc:
            raise missing_indexes(_call(budget)) from exc
        return {each["_id"] for each in answer["docs"] if each.get("found")}

    async def counts(self, tenant: str, snapshot: Snapshot, *, budget: Budget) -> tuple[int, int]:
        """See retriever.upkeep.ports.RecordAudit."""
        return await self._counted(tenant, all_of([_within(tenant, snapshot.uid), seen_by(snapshot)]), budget)

    async def blocks(self, tenant: str, uid: str, version: int, *, budget: Budget) -> tuple[TextBlock, ...] | None:
        """See retriever.upkeep.ports.RecordAudit."""
        return from_outline((await self._stored(tenant, uid, version, budget)).get("outline"))

    async def _stored(self, tenant: str, uid: str, version: int, budget: Budget) -> Mapping[str, Any]:
        path = f"{self._texts}/_doc/{_id(key_of(tenant, uid), version)}"
        try:
            found = await self._engine.ask("GET", path, _call(budget), params=_routing(tenant))
        except IndexAbsent as exc:
            raise missing_indexes(_call(budget)) from exc
        except Absent:
            raise DocumentNotFound("there is no such document") from None
        source: Mapping[str, Any] = found["_source"]
        return source

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> None:
        """See retriever.ports.DocumentRecords. Records first: none may be seen without its text."""
        doomed = [_within(tenant, uid), *([of_versions(versions)] if versions else [])]
        for alias in (self._records, self._texts):
            await delete_all(self._engine, alias, all_of(doomed), _call(budget), params=_routing(tenant))

    async def _create(self, alias: str, lines: Iterator[Line], call: Call, params: Mapping[str, str]) -> None:
        try:
            await self._engine.create(alias, lines, call, params=params)
        except IndexAbsent as exc:
            raise missing_indexes(call) from exc

    async def _search(self, tenant: str, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        call = _call(budget)
        try:
            return await self._engine.search(self._records, call, body=body, params=_routing(tenant))
        except IndexAbsent as exc:
            raise missing_indexes(call) from exc


async def delete_all(
    engine: Engine, alias: str, query: Query, call: Call, *, params: Mapping[str, str] | None = None
) -> None:
    """Delete every document that matches, written just now or before, in bounded steps."""
    try:
        await engine.refresh(alias, call)
        while await engine.delete_some(alias, query, call, at_most=PURGE_DOCUMENTS, params=params):
            call.budget.check(call.place)
    except IndexAbsent as exc:
        raise missing_indexes(call) from exc


def _call(budget: Budget) -> Call:
    return Call(budget, CatalogueUnavailable, PLACE)


def _routing(tenant: str) -> dict[str, str]:
    return {"routing": key_of(tenant)}


def _within(tenant: str, uid: str) -> Query:
    return {"term": {"scope": key_of(tenant, uid)}}


def _in_scope(scope: Scope) -> Query:
    within = _within(scope.tenant, scope.snapshot.uid)
    return all_of([within, seen_by(scope.snapshot), readable_by(scope.groups), compiled(scope.filter)])


def _id(scope: str, version: int) -> str:
    return f"{scope}.{version:x}"


def _record_lines(scope: str, records: Sequence[tuple[DocumentRecord, str]]) -> Iterator[Line]:
    for record, _ in records:
        source = {
            "scope": scope,
            "document_id": record.document_id,
            "version": record.version,
            "born": born_of(record.version),
            "groups": list(record.groups),
            "values": values_of(record),
            "chunk_count": record.chunk_count,
            "record": record_source(record),
        }
        yield Line(_id(scope, record.version), source)


def _text_lines(
    scope: str, records: Sequence[tuple[DocumentRecord, str]], blocks: Sequence[Sequence[TextBlock] | None]
) -> Iterator[Line]:
    for (record, text), known in zip_longest(records, blocks):
        outline = {} if known is None else {"outline": to_outline(known)}
        source = {"scope": scope, "version": record.version, "text": text, **outline}
        yield Line(_id(scope, record.version), source)
