"""An archive that takes the collection's place while it is reindexed, and the other way round: one of them, whole."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.errors import CollectionNotFound, Conflict
from retriever.backup.exporting import Exporter, ExportSources
from retriever.backup.importing import Importer, ImportTarget
from retriever.ingest.lease import TERM_S
from retriever.ingest.pins import ReadPins
from retriever.ingest.purge import GRACE_S
from retriever.upkeep.aftermath import ABANDONED_S, SWEEP_INTERVAL_S
from retriever.upkeep.sweep import unnamed
from tests.contract.backup.sides import pieces
from tests.contract.search.reindexing.runs import KEEP, NAME, WHOLE, head_of, put, rebuilt, seen
from tests.contract.search.samples import TENANT, budget
from tests.contract.search.upkeeping import EMBEDDERS, FIRST, SECOND, WALL, last_of, recipe


@pytest.fixture
async def archive(leaves, filled):
    """The collection as it was when it held WHOLE; then it has another document."""
    sources = ExportSources(leaves.heads, leaves.records, leaves.dense_for(FIRST, 8), leaves.lexical)
    exporter = Exporter(sources, ReadPins(leaves.leases, owner="exporter"), embedder_fingerprint=FIRST)
    return b"".join([part.data async for part in exporter.export(TENANT, NAME, budget=budget(60))])


@pytest.fixture
def importer(stores, clock):
    return Importer(stores, embedder=EMBEDDERS[FIRST], owner="importer", now=lambda: WALL, sleep=clock.sleep)


async def is_tidy(leaves, janitor, clock):
    """Nothing is left that no head names, once what broke off has been given up."""
    await janitor.tidy(budget=budget())
    clock.advance(max(ABANDONED_S, GRACE_S))
    for _ in range(4):
        await janitor.tidy(budget=budget())
        clock.advance(max(SWEEP_INTERVAL_S, TERM_S / 2))
    return await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()


async def test_an_import_that_takes_the_place_of_what_is_reindexed_ends_the_reindex(
    leaves, reindexer, janitor, clock, committer, archive, importer
):
    await put(committer, "d", "A later word.")
    events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
    await anext(events)
    await importer.run(TENANT, ImportTarget(NAME, replace=True), pieces(archive), budget=budget(60))
    with pytest.raises((CollectionNotFound, Conflict)):
        await last_of(events)
    assert (await head_of(leaves)).embedder_fingerprint == FIRST
    assert await seen(leaves) == WHOLE
    assert await is_tidy(leaves, janitor, clock)
    assert await seen(leaves) == WHOLE


async def test_an_import_outlasts_a_reindex_that_ends_before_it(
    leaves, reindexer, janitor, clock, committer, archive, importer
):
    await put(committer, "d", "A later word.")
    before = await head_of(leaves)
    flipped: list[Any] = []

    async def data():
        async for piece in pieces(archive, 200):
            yield piece
            if not flipped and (await head_of(leaves)).staged is not None:
                await rebuilt(reindexer)
                flipped.append(await head_of(leaves))

    await importer.run(TENANT, ImportTarget(NAME, replace=True), data(), budget=budget(60))
    assert [head.embedder_fingerprint for head in flipped] == [SECOND]
    head = await head_of(leaves)
    assert head.snapshot.generation > flipped[0].snapshot.generation > before.snapshot.generation
    assert await seen(leaves) == WHOLE
    assert await is_tidy(leaves, janitor, clock)
    assert await seen(leaves) == WHOLE
