"""What a read begins with: the collection's head, or the last known one while the catalogue is down."""

from __future__ import annotations

import pytest

from chassis.errors import CatalogueUnavailable, CollectionNotFound, DeadlineExceeded
from retriever.ingest.snapshots import SnapshotReader
from retriever.types import Snapshot
from tests.contract.search.faults import failing
from tests.contract.search.samples import TENANT, FakeClock, budget, prepared

NAME = "handbook"


async def put(writer, document_id):
    return await writer.put(TENANT, NAME, prepared(document_id, ["word"]), budget=budget())


async def test_a_reader_goes_on_with_the_last_known_snapshot_for_five_minutes(stores, ports, writer):
    clock = FakeClock()
    reader = SnapshotReader(ports.heads, clock=clock, timebox_s=30)
    await put(writer, "a")
    fresh = await reader.head(TENANT, NAME, budget=budget())
    for error, age_s in ((CatalogueUnavailable("down"), 150), (DeadlineExceeded("hangs"), 300)):
        ports.heads.before["get"] = [failing(error)]
        clock.advance(150)
        stale = await reader.head(TENANT, NAME, budget=budget())
        assert (stale.head, stale.is_stale, stale.age_s) == (fresh.head, True, age_s)
    ports.heads.before["get"] = [failing(CatalogueUnavailable("down"))]
    clock.advance(1)
    with pytest.raises(CatalogueUnavailable):
        await reader.head(TENANT, NAME, budget=budget())


async def test_without_a_last_known_snapshot_a_dead_catalogue_is_an_error(ports):
    ports.heads.before["get"] = [failing(CatalogueUnavailable("down"))]
    with pytest.raises(CatalogueUnavailable):
        await SnapshotReader(ports.heads, timebox_s=30).head(TENANT, NAME, budget=budget())


async def test_a_collection_known_to_be_dropped_is_not_remembered(ports, writer):
    reader = SnapshotReader(ports.heads, timebox_s=30)
    await put(writer, "a")
    await reader.head(TENANT, NAME, budget=budget())
    await writer.drop_collection(TENANT, NAME, budget=budget())
    with pytest.raises(CollectionNotFound):
        await reader.head(TENANT, NAME, budget=budget())
    ports.heads.before["get"] = [failing(CatalogueUnavailable("down"))]
    with pytest.raises(CatalogueUnavailable):
        await reader.head(TENANT, NAME, budget=budget())


def test_a_snapshot_that_sees_nothing_is_the_default():
    assert not Snapshot("u").sees(1 << 16)
