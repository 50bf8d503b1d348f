"""Starting a retriever: what it refuses to start with, and what it shares."""

from __future__ import annotations

import pytest
from rag.retriever.v1 import retriever_pb2

from chassis.budget import Budget
from chassis.errors import DataFolderLocked, Overloaded, SettingsInvalid
from chassis.settings import load
from chassis.telemetry import Telemetry
from retriever.app import RETRIEVE_METHOD, build
from retriever.settings import RetrieverSettings
from tests.contract.retriever.conftest import refused, running


async def test_a_cluster_needs_the_addresses_of_its_stores_and_names_those_that_lack(tmp_path):
    settings = load(RetrieverSettings, search="cluster", opensearch_url="http://127.0.0.1:1", listen="127.0.0.1:0")
    with pytest.raises(SettingsInvalid, match="RETRIEVER_WEAVIATE_URL, ASKMESH_RETRIEVER_WEAVIATE_GRPC: needed"):
        async with build(settings, telemetry=Telemetry("test")):
            pass


async def test_two_retrievers_do_not_share_a_data_folder(tmp_path, embedder):
    async with running(tmp_path, embedder):
        with pytest.raises(DataFolderLocked):
            async with running(tmp_path, embedder):
                pass


async def test_the_embedder_it_was_given_is_the_one_it_shares(tmp_path, embedder):
    settings = load(RetrieverSettings, data_folder=tmp_path, listen="127.0.0.1:0", drain_s=1)
    async with build(settings, embedder=embedder, telemetry=Telemetry("test")) as retriever:
        assert retriever.embedder is embedder
        assert retriever.address.startswith("127.0.0.1:")
        assert {binding.full_name for binding in retriever.bindings} == {
            "rag.retriever.v1.RetrieverService",
            "rag.retriever.v1.DocumentService",
            "rag.retriever.v1.CollectionService",
            "rag.retriever.v1.MaintenanceService",
            "rag.retriever.v1.BackupService",
        }


async def test_it_opens_an_embedder_of_its_own(tmp_path):
    settings = load(RetrieverSettings, data_folder=tmp_path, listen="127.0.0.1:0", drain_s=1)
    async with build(settings, telemetry=Telemetry("test")) as retriever:
        assert retriever.embedder is not None
        assert retriever.embedder.fingerprint.startswith("minilm-l6-v2/int8")


def test_the_originals_variables_are_read(monkeypatch):
    monkeypatch.setenv("RETRIEVAL_TIMEOUT_MS", "400")
    monkeypatch.setenv("WEAVIATE_URL", "http://w:8080")
    monkeypatch.setenv("OPENSEARCH_URL", "http://o:9200")
    monkeypatch.setenv("TOP_K_DEFAULT", "7")
    settings = load(RetrieverSettings)
    assert (settings.retrieval_timeout_ms, settings.weaviate_url, settings.opensearch_url, settings.default_top_k) == (
        400,
        "http://w:8080",
        "http://o:9200",
        7,
    )


def test_every_bad_variable_is_named_at_once(monkeypatch):
    monkeypatch.setenv("ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS", "soon")
    monkeypatch.setenv("ASKMESH_RETRIEVER_SEARCH", "grep")
    monkeypatch.setenv("ASKMESH_RETRIEVER_DATA_FODLER", "/x")
    with pytest.raises(SettingsInvalid) as raised:
        load(RetrieverSettings)
    for name in ("RETRIEVAL_TIMEOUT_MS", "SEARCH", "DATA_FODLER", "DATA_FOLDER"):
        assert f"ASKMESH_RETRIEVER_{name}" in raised.value.message
    assert "soon" not in raised.value.message


async def test_retrievals_beyond_the_limit_are_shed_while_snapshots_are_read(tmp_path, embedder):
    async with running(tmp_path, embedder, max_retrievals=1, max_queue=0) as retriever:
        await retriever.owner.put("a.txt", "Words.")
        async with retriever.admission.place(RETRIEVE_METHOD, Budget.of(60)):
            async with refused(Overloaded):
                await retriever.owner.retrieve("words")
            assert (await retriever.owner.snapshot()).generation > 0
        assert len((await retriever.owner.retrieve("words")).passages) == 1


async def test_the_default_number_of_passages_is_a_setting(tmp_path, embedder):
    async with running(tmp_path, embedder, default_top_k=1) as retriever:
        await retriever.owner.put("a.txt", "Words.")
        await retriever.owner.put("b.txt", "Words.")
        response = await retriever.owner.retrieve("words")
        assert isinstance(response, retriever_pb2.RetrieveResponse)
        assert len(response.passages) == 1
