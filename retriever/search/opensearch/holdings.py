"""What OpenSearch holds, by collection: indexes of chunks, and what lies in the shared indexes under its scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from retriever.search.opensearch.engine import Call, Engine
from retriever.search.opensearch.layout import RECORDS, TEXTS, chunks_indexes, key_of
from retriever.search.opensearch.lexical import drop_chunks
from retriever.search.opensearch.records import delete_all

PLACE: Final = "catalogue"
PAGE: Final = 500


class OpenSearchHoldings:
    """Holdings. A name is the digest of tenant and uid."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def name_of(self, tenant: str, uid: str) -> str:
        """See retriever.upkeep.ports.Holdings."""
        return key_of(tenant, uid)

    async def names(self, *, budget: Budget) -> set[str]:
        """See retriever.upkeep.ports.Holdings."""
        call = Call(budget, CatalogueUnavailable, PLACE)
        indexes = await self._engine.ask("GET", f"{chunks_indexes(self._engine, '*')}/_alias", call)
        found = {index.rpartition("-")[2] for index in indexes}
        for name in (RECORDS, TEXTS):
            found |= await _scopes(self._engine, f"{self._engine.prefix}-{name}", call)
        return found

    async def drop_named(self, name: str, *, budget: Budget) -> None:
        """See retriever.upkeep.ports.Holdings."""
        call = Call(budget, CatalogueUnavailable, PLACE)
        await drop_chunks(self._engine, name, call)
        for kind in (RECORDS, TEXTS):
            await delete_all(self._engine, f"{self._engine.prefix}-{kind}", {"term": {"scope": name}}, call)


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
