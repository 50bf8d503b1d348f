"""Weaviate and OpenSearch together: the clients, and everything that is made of both."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retriever.search.migration import Migration
from retriever.search.opensearch import OpenSearchAddress, OpenSearchStore, connected, opened
from retriever.search.opensearch.engine import Engine as OpenSearch
from retriever.search.opensearch.heads import OpenSearchHeads, OpenSearchLeases
from retriever.search.opensearch.migration import OpenSearchMigration
from retriever.search.tls import StoreTls
from retriever.search.weaviate import Engine as Weaviate
from retriever.search.weaviate import WeaviateDenseIndex, WeaviateHoldings, open_engine
from retriever.search.weaviate.migration import WeaviateMigration
from retriever.settings import RetrieverSettings

if TYPE_CHECKING:
    from retriever.search.opening import Process

NO_EMBEDDER: Final = "none"  # a dense leg that is neither written nor searched


@dataclass(frozen=True, slots=True)
class Cluster:
    """One installation's place in both."""

    opensearch: OpenSearch
    weaviate: Weaviate
    prefix: str
    owner: str

    @classmethod
    async def connected(cls, stack: AsyncExitStack, settings: RetrieverSettings, process: Process) -> Cluster:
        """The clients, closed by `stack`; nothing is asked of the servers yet."""
        tls = StoreTls(settings.stores_ca_file, settings.stores_cert_file, settings.stores_key_file)
        address = OpenSearchAddress(
            settings.opensearch_url,
            settings.opensearch_user,
            settings.opensearch_password.get_secret_value(),
            settings.store_prefix,
            tls,
        )
        key = settings.weaviate_api_key.get_secret_value()
        return cls(
            opensearch=await stack.enter_async_context(connected(address, process.telemetry)),
            weaviate=await stack.enter_async_context(
                open_engine(settings.weaviate_url, settings.weaviate_grpc, key, tls=tls, telemetry=process.telemetry)
            ),
            prefix=settings.store_prefix,
            owner=process.owner,
        )

    async def opened(self) -> OpenSearchStore:
        """OpenSearch's ports. Raises CatalogueUnavailable, LayoutOutdated."""
        return await opened(self.opensearch)

    def dense_for(self, fingerprint: str, dim: int) -> WeaviateDenseIndex:
        """The dense store of one embedder; a `dim` of 0 for reading what is there."""
        return WeaviateDenseIndex(self.weaviate, fingerprint=fingerprint or NO_EMBEDDER, dim=dim, namespace=self.prefix)

    @property
    def weaviate_holdings(self) -> WeaviateHoldings:
        return WeaviateHoldings(self.weaviate, namespace=self.prefix)

    @property
    def migration(self) -> Migration:
        """OpenSearch last: its layout is what a retriever looks at."""
        heads = OpenSearchHeads(self.opensearch)
        movers = (
            WeaviateMigration(self.weaviate, heads, namespace=self.prefix),
            OpenSearchMigration(self.opensearch),
        )
        return Migration(movers, OpenSearchLeases(self.opensearch), owner=self.owner)
