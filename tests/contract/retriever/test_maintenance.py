"""MaintenanceService over the wire, with the embedded leaves and with a cluster's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from rag.retriever.v1 import maintenance_pb2 as pb
from rag.retriever.v1 import maintenance_pb2_grpc

from chassis.errors import CollectionNotFound, InvalidRequest, PermissionDenied, RollbackUnavailable
from tests.contract.retriever.conftest import ids, refused, running
from tests.contract.retriever.test_cluster import clustered

LEAVES: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {"embedded": running, "cluster": clustered}
MARKDOWN = "# Tools\n\nThe spanner tightens bolts.\n\n## Care\n\nOil the hinge once a year."


@pytest.fixture(params=sorted(LEAVES))
async def retriever(request, tmp_path, embedder):
    async with LEAVES[request.param](tmp_path, embedder) as opened:
        yield opened


@pytest.fixture
def owner(retriever):
    return retriever.owner


@pytest.fixture
async def filled(owner):
    await owner.put("tools.md", MARKDOWN, groups=["staff"])
    await owner.put("bread", "Sourdough needs a night to rise.")


def verifying(**fields):
    return pb.VerifyCollectionRequest(collection="docs", **fields)


async def test_a_sound_collection_is_reported_with_its_counts(owner, filled):
    report = await owner.operate("VerifyCollection", verifying())
    assert (report.collection, report.document_count, report.finding_count) == ("docs", 2, 0)
    assert report.chunk_count == report.dense_chunk_count == report.lexical_chunk_count > 1


async def test_a_reindex_without_an_embedder_and_a_rollback_change_legs_and_nothing_else(owner, filled):
    before = await owner.collection()
    found = await owner.retrieve("Which tool tightens bolts?", top_k=1)
    request = pb.ReindexCollectionRequest(collection="docs", embedder="none")
    report = await owner.operate("ReindexCollection", request)
    lexical = await owner.collection()
    assert (report.old_uid, report.new_uid) == (before.uid, lexical.uid)
    assert (lexical.embedder_fingerprint, lexical.generation > before.generation) == ("", True)
    only = await owner.retrieve("Which tool tightens bolts?", top_k=1)
    assert ids(only) == ids(found) == ["tools.md"]
    assert only.passages[0].section == found.passages[0].section == "Tools"
    assert not only.passages[0].HasField("dense")

    await owner.operate("RollBackCollection", pb.RollBackCollectionRequest(collection="docs"))

    after = await owner.collection()
    assert (after.uid, after.embedder_fingerprint) == (before.uid, before.embedder_fingerprint)
    assert after.generation > lexical.generation
    again = await owner.retrieve("Which tool tightens bolts?", top_k=1)
    assert again.passages[0].HasField("dense")
    async with refused(RollbackUnavailable):
        await owner.operate("RollBackCollection", pb.RollBackCollectionRequest(collection="docs"))


async def test_a_document_sent_again_after_a_reindex_is_unchanged(owner, filled):
    await owner.operate("ReindexCollection", pb.ReindexCollectionRequest(collection="docs"))
    again = await owner.put("tools.md", MARKDOWN, groups=["staff"])
    assert again.outcome == 2  # INGEST_OUTCOME_UNCHANGED
    assert [each.document_id for each in (await owner.list()).documents] == ["bread", "tools.md"]


async def test_an_equal_embedder_keeps_every_passage_as_it_was(owner, filled):
    before = await owner.retrieve("Which tool tightens bolts?")
    await owner.operate("ReindexCollection", pb.ReindexCollectionRequest(collection="docs", keep_seconds=-1))
    after = await owner.retrieve("Which tool tightens bolts?")
    for one in (before, after):
        for passage in one.passages:
            passage.chunk_id = ""
    assert list(after.passages) == list(before.passages)


async def test_stores_without_orphans_have_no_findings(retriever, owner, filled):
    stub = maintenance_pb2_grpc.MaintenanceServiceStub(retriever.channel)
    reply = await stub.VerifyStores(pb.VerifyStoresRequest(), timeout=60, metadata=owner.metadata)
    assert reply.finding_count == 0


async def test_current_stores_have_nothing_to_migrate(owner, filled):
    report = await owner.operate("MigrateStores", pb.MigrateStoresRequest())
    assert report.migrated_count == 0


async def test_no_unfinished_reindex_is_there_to_cancel(retriever, owner, filled):
    stub = maintenance_pb2_grpc.MaintenanceServiceStub(retriever.channel)
    request = pb.CancelReindexRequest(collection="docs")
    reply = await stub.CancelReindex(request, timeout=60, metadata=owner.metadata)
    assert not reply.was_building


@pytest.mark.parametrize("method", ["VerifyCollection", "ReindexCollection", "RollBackCollection", "MigrateStores"])
async def test_only_an_operator_may(retriever, method):
    request = getattr(pb, f"{method}Request")()
    async with refused(PermissionDenied):
        await retriever.rival.operate(method, request)
    async with refused(PermissionDenied):
        await retriever.reader.operate(method, request)


async def test_what_cannot_be_is_refused_before_anything_is_done(owner):
    async with refused(InvalidRequest, "collection"):
        await owner.operate("VerifyCollection", pb.VerifyCollectionRequest(collection="Not a name"))
    async with refused(InvalidRequest, "collection", "keep_seconds"):
        await owner.operate("ReindexCollection", pb.ReindexCollectionRequest(keep_seconds=1 << 40))
    async with refused(InvalidRequest, "embedder"):
        await owner.operate("ReindexCollection", pb.ReindexCollectionRequest(collection="docs", embedder="magic"))
    for method in ("VerifyCollection", "ReindexCollection", "RollBackCollection"):
        async with refused(CollectionNotFound):
            await owner.operate(method, getattr(pb, f"{method}Request")(collection="docs"))


async def test_a_head_of_another_shape_is_named_keeps_what_it_names_and_stops_nothing_else(tmp_path, embedder):
    async with running(tmp_path, embedder) as retriever:
        await retriever.owner.put("a", "The spanner tightens bolts.")
        await retriever.owner.put("b", "Bread.", collection="other")
        with sqlite3.connect(tmp_path / "data" / "askmesh.sqlite3") as file:
            file.execute("UPDATE heads SET body = '{}', revision = revision + 1000 WHERE name = 'other'")
        file.close()
        stub = maintenance_pb2_grpc.MaintenanceServiceStub(retriever.channel)
        request = pb.VerifyStoresRequest(repair=True)
        reply = await stub.VerifyStores(request, timeout=60, metadata=retriever.owner.metadata)
        assert [(each.kind, each.subject) for each in reply.findings] == [
            (pb.UPKEEP_FINDING_KIND_HEAD_UNREADABLE, "other")
        ]
        assert reply.repaired_count == 0
        assert ids(await retriever.owner.retrieve("spanner")) == ["a"]
    async with running(tmp_path, embedder) as again:
        assert ids(await again.owner.retrieve("spanner")) == ["a"]
        with sqlite3.connect(tmp_path / "data" / "askmesh.sqlite3") as file:
            [(left,)] = file.execute("SELECT count(DISTINCT collection) FROM lexical_rows").fetchall()
        file.close()
        assert left == 2, "what the head that cannot be read names is still there"
