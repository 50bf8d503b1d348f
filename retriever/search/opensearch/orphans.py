"""What belongs to no head: its collection was dropped, and the process died before its data was.

What exists is listed before the heads are: a collection's head is stored before its first chunk, so whatever was there
and has no head now lost it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from retriever.search.opensearch.engine import Call, Engine
from retriever.search.opensearch.heads import OpenSearchHeads
from retriever.search.opensearch.layout import RECORDS, TEXTS, chunks_indexes, key_of
from retriever.search.opensearch.lexical import drop_chunks
from retriever.search.opensearch.records import delete_all

PLACE: Final = "catalogue"
PAGE: Final = 500


async def drop_orphans(engine: Engine, heads: OpenSearchHeads, budget: Budget) -> None:
    """Remove chunks, records and texts of collections that no head names."""
    call = Call(budget, CatalogueUnavailable, PLACE)
    indexes = await engine.ask("GET", f"{chunks_indexes(engine, '*')}/_alias", call)
    with_chunks = {index.rpartition("-")[2] for index in indexes}
    with_records = {key for name in (RECORDS, TEXTS) for key in await _scopes(engine, f"{engine.prefix}-{name}", call)}
    named = await _named(heads, budget)
    for key in with_chunks - named:
        await drop_chunks(engine, key, call)
    for key in with_records - named:
        for name in (RECORDS, TEXTS):
            await delete_all(engine, f"{engine.prefix}-{name}", {"term": {"scope": key}}, call)


async def _named(heads: OpenSearchHeads, budget: Budget) -> set[str]:
    """The keys of every uid that a head names."""
    keys: set[str] = set()
    after = ("", "")
    while page := await heads.every(after=after, limit=PAGE, budget=budget):
        keys |= {key_of(head.tenant, uid) for head in page for uid in head.uids}
        after = (page[-1].tenant, page[-1].name)
    return keys


async def _scopes(engine: Engine, alias: str, call: Call) -> set[str]:
    """Every scope that documents of this index were stored under."""
    await engine.refresh(alias, call)
    found: set[str] = set()
    after: Mapping[str, Any] = {}
    while True:
        grouped = {"size": PAGE, "sources": [{"scope": {"terms": {"field": "scope"}}}], **after}
        body = {"size": 0, "aggs": {"scopes": {"composite": grouped}}}
        answer = (await engine.search(alias, call, body=body))["aggregations"]["scopes"]
        found |= {bucket["key"]["scope"] for bucket in answer["buckets"]}
        if "after_key" not in answer:
            return found
        after = {"after": answer["after_key"]}
