"""The lexical leg and the catalogue of a cluster: OpenSearch, shared by any number of processes.

What it does not do: hold vectors (see DenseLeg).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from opensearchpy import AsyncOpenSearch

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from chassis.retry import RetryPolicy
from chassis.telemetry import Telemetry
from retriever.search.opensearch.engine import Call, Engine
from retriever.search.opensearch.heads import OpenSearchHeads, OpenSearchLeases
from retriever.search.opensearch.holdings import OpenSearchHoldings
from retriever.search.opensearch.layout import prepare
from retriever.search.opensearch.lexical import OpenSearchLexicalIndex
from retriever.search.opensearch.records import OpenSearchRecords
from retriever.search.tls import PUBLIC, StoreTls

__all__ = [
    "OpenSearchAddress",
    "OpenSearchHeads",
    "OpenSearchLeases",
    "OpenSearchLexicalIndex",
    "OpenSearchRecords",
    "OpenSearchStore",
    "connected",
    "open_opensearch",
    "opened",
]

OPENING_BUDGET_S: Final = 60.0  # a cluster that just started allocates its shards first
CONNECTIONS: Final = 64  # both legs' worth of the retrievals one process has at once, and its writers
PREFIX: Final = "askmesh"


@dataclass(frozen=True, slots=True)
class OpenSearchAddress:
    """Where a cluster is and who we are there.

    Attributes:
        url: "https://host:9200"; several separated by commas are nodes of one cluster.
        user, password: HTTP basic credentials; empty: none are sent.
        prefix: What all names in the cluster begin with, so that several installations can share one.
        tls: For https.
    """

    url: str
    user: str = ""
    password: str = ""
    prefix: str = PREFIX
    tls: StoreTls = PUBLIC

    def __repr__(self) -> str:
        return "OpenSearchAddress(...)"  # a URL may hold credentials, too


@dataclass(frozen=True, slots=True)
class OpenSearchStore:
    """Every port OpenSearch serves, over one pool of connections."""

    lexical: OpenSearchLexicalIndex
    heads: OpenSearchHeads
    records: OpenSearchRecords
    leases: OpenSearchLeases
    holdings: OpenSearchHoldings


@asynccontextmanager
async def open_opensearch(
    address: OpenSearchAddress, *, telemetry: Telemetry | None = None
) -> AsyncIterator[OpenSearchStore]:
    """Connect, and make the indexes that are missing.

    Raises:
        CatalogueUnavailable: the cluster is not there, or its indexes are of a newer version.
        LayoutOutdated: they are of an older one.
    """
    async with connected(address, telemetry) as engine:
        yield await opened(engine)


async def opened(engine: Engine) -> OpenSearchStore:
    """The ports over an engine. Raises as `open_opensearch`."""
    await prepare(engine, Call(Budget.of(OPENING_BUDGET_S), CatalogueUnavailable, "catalogue"))
    return OpenSearchStore(
        lexical=OpenSearchLexicalIndex(engine),
        heads=OpenSearchHeads(engine),
        records=OpenSearchRecords(engine),
        leases=OpenSearchLeases(engine),
        holdings=OpenSearchHoldings(engine),
    )


@asynccontextmanager
async def connected(address: OpenSearchAddress, telemetry: Telemetry | None = None) -> AsyncIterator[Engine]:
    """An engine; nothing is asked of the cluster yet."""
    hosts = [each.strip() for each in address.url.split(",")]
    is_encrypted = any(host.startswith("https:") for host in hosts)
    client = AsyncOpenSearch(
        hosts=hosts,
        http_auth=(address.user, address.password) if address.user else None,
        pool_maxsize=CONNECTIONS,
        max_retries=0,  # chassis.retry's, inside the budget
        retry_on_timeout=False,
        ssl_context=address.tls.context() if is_encrypted else None,
    )
    try:
        yield Engine(client, prefix=address.prefix, retries=RetryPolicy("opensearch", telemetry=telemetry))
    finally:
        await client.close()
