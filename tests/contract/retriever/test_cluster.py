"""The retriever over the wire with a cluster's stores: OpenSearch and Weaviate as they are."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from chassis.errors import CatalogueUnavailable, CollectionNotFound, DocumentNotFound
from chassis.settings import load
from chassis.telemetry import Telemetry
from retriever.app import build
from retriever.settings import RetrieverSettings
from tests.contract.retriever.conftest import ids, refused, running
from tests.contract.search.clusters import OPENSEARCH
from tests.contract.search.weaviates import WEAVIATE


@asynccontextmanager
async def clustered(folder, embedder, **settings):
    """A retriever whose stores are those of the installation this folder stands for."""
    weaviate = await WEAVIATE.running()
    async with OPENSEARCH.installation(folder) as address:
        stores = {
            "search": "cluster",
            "opensearch_url": address.url,
            "weaviate_url": weaviate.url,
            "weaviate_grpc": f"{weaviate.host}:{weaviate.ports['grpc']}",
            "store_prefix": address.prefix,
            **settings,
        }
        async with running(folder, embedder, **stores) as opened:
            yield opened


async def test_both_legs_answer_from_a_clusters_stores(tmp_path, embedder):
    async with clustered(tmp_path, embedder) as retriever:
        await retriever.owner.put("wrench", "The spanner tightens bolts.")
        await retriever.owner.put("bread", "Sourdough needs a night to rise.")
        found = await retriever.owner.retrieve("Which tool tightens bolts?")
        assert ids(found)[0] == "wrench"
        assert list(found.degraded) == []
        best = found.passages[0]
        assert (best.HasField("dense"), best.HasField("lexical")) == (True, True)


async def test_a_restarted_retriever_finds_what_another_stored(tmp_path, embedder):
    async with clustered(tmp_path, embedder) as first:
        await first.owner.put("a", "The spanner tightens bolts.")
    async with clustered(tmp_path, embedder) as second:
        assert ids(await second.owner.retrieve("spanner")) == ["a"]
        assert [each.document_id for each in (await second.owner.list()).documents] == ["a"]


async def test_two_retrievers_share_a_clusters_stores(tmp_path, embedder):
    async with clustered(tmp_path, embedder) as one, clustered(tmp_path, embedder) as other:
        await one.owner.put("a", "The spanner tightens bolts.")
        assert ids(await other.owner.retrieve("spanner")) == ["a"]
        await other.owner.delete("a")
        assert ids(await one.owner.retrieve("spanner")) == []
        async with refused(DocumentNotFound):
            await one.owner.get("a")


async def test_a_dropped_collection_is_gone_for_everybody(tmp_path, embedder):
    async with clustered(tmp_path, embedder) as one, clustered(tmp_path, embedder) as other:
        await one.owner.put("a", "The spanner tightens bolts.")
        await other.owner.delete_collection()
        async with refused(CollectionNotFound):
            await one.owner.retrieve("spanner")


async def test_another_tenant_has_a_collection_of_its_own_by_the_same_name(tmp_path, embedder):
    async with clustered(tmp_path, embedder) as retriever:
        await retriever.owner.put("a", "The spanner tightens bolts.")
        await retriever.rival.put("b", "The spanner loosens bolts.")
        assert ids(await retriever.owner.retrieve("spanner")) == ["a"]
        assert ids(await retriever.rival.retrieve("spanner")) == ["b"]


async def test_a_retriever_without_its_catalogue_does_not_start(embedder):
    nobody = {"opensearch_url": "http://127.0.0.1:1", "weaviate_url": "http://127.0.0.1:1", "weaviate_grpc": "h:1"}
    settings = load(RetrieverSettings, search="cluster", listen="127.0.0.1:0", **nobody)
    with pytest.raises(CatalogueUnavailable):
        async with build(settings, embedder=embedder, telemetry=Telemetry("test")):
            pass
