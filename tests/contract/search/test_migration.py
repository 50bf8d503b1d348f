"""`collections migrate` on the real servers: installations of older layouts become current ones, nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from chassis.errors import BackendUnavailable, Conflict, DeadlineExceeded, LayoutOutdated
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.purge import GRACE_S, Janitor
from retriever.search.migration import Migration
from retriever.search.opensearch import connected, open_opensearch, opened
from retriever.search.opensearch.heads import OpenSearchHeads, OpenSearchLeases
from retriever.search.opensearch.layout import VERSIONS
from retriever.search.opensearch.lexical import OpenSearchLexicalIndex
from retriever.search.opensearch.migration import OpenSearchMigration
from retriever.search.opensearch.records import OpenSearchRecords
from retriever.search.weaviate.migration import WeaviateMigration
from retriever.upkeep.findings import MigrationReport
from retriever.upkeep.repair import Repairer
from retriever.upkeep.verify import Verifier
from tests.contract.search.clusters import OPENSEARCH, vectors
from tests.contract.search.oldlayouts import age_opensearch, age_weaviate, request
from tests.contract.search.samples import TENANT, FakeClock, budget, scope, texts_by_id, unit
from tests.contract.search.upkeeping import FIRST, WALL, document, last_of, recipe, upkeep_stores
from tests.contract.search.weaviates import WEAVIATE, Leaves, dense_at, engine_of

NAME = "handbook"
WHOLE = {"a": {"The first word.", "The second word."}, "b": {"Another word."}}


@pytest.fixture
async def place(tmp_path: Path):
    """An installation's place on both servers, and engines to it."""
    server = await WEAVIATE.running()
    async with (
        OPENSEARCH.installation(tmp_path) as address,
        connected(address) as opensearch,
        engine_of(server) as weaviate,
    ):
        yield SimpleNamespace(address=address, opensearch=opensearch, weaviate=weaviate)


async def leaves_of(place) -> Leaves:
    store = await opened(place.opensearch)
    return Leaves(
        dense=dense_at(place.weaviate, place.address.prefix),
        lexical=store.lexical,
        heads=store.heads,
        records=store.records,
        leases=store.leases,
        holdings={},
        dense_for=lambda fingerprint, dim: dense_at(place.weaviate, place.address.prefix, fingerprint, dim),
    )


def migration_of(place, owner="operator"):
    heads = OpenSearchHeads(place.opensearch)
    movers = (
        WeaviateMigration(place.weaviate, heads, namespace=place.address.prefix),
        OpenSearchMigration(place.opensearch),
    )
    return Migration(movers, OpenSearchLeases(place.opensearch), owner=owner)


@pytest.fixture
async def aged(place):
    """Two documents, one with pages and for some readers; then both stores as they were before."""
    leaves = await leaves_of(place)
    async with Committer(_stores(leaves), owner="writer") as committer:
        for each in (
            await document("a", "The first word.\nThe second word.", pages=True, groups=("board",)),
            await document("b", "Another word.", metadata={"year": 2024.0}),
        ):
            await committer.put(TENANT, NAME, each, budget=budget(60))
    head = await leaves.heads.get(TENANT, NAME, budget=budget())
    old = await age_weaviate(place.weaviate, place.address.prefix, head.snapshot.uid, FIRST)
    return SimpleNamespace(uid=head.snapshot.uid, indexes=age_opensearch(place.address, place.opensearch), shard=old)


def _stores(leaves):
    return Stores(leaves.heads, leaves.records, leaves.dense, leaves.lexical)


async def seen(leaves):
    head = await leaves.heads.get(TENANT, NAME, budget=budget())
    within = scope(head.snapshot, groups=("*", "board"))
    found = texts_by_id(await leaves.lexical.search("word", within, 100, budget=budget()))
    assert texts_by_id(await leaves.dense.search(unit(1.0), within, 100, budget=budget())) == found
    return found


async def is_sound(leaves):
    stores = upkeep_stores(leaves)
    verifier = Verifier(stores, Repairer(stores, recipe, owner="operator", now=lambda: WALL))
    report = await last_of(verifier.verify(TENANT, NAME, repair=False, budget=budget(60)))
    return report.findings == ()


def indexes(place):
    return sorted(request("GET", f"{place.address.url}/{place.address.prefix}-*"))


async def is_migrated(place, aged):
    leaves = await leaves_of(place)
    assert await seen(leaves) == WHOLE
    assert await is_sound(leaves)
    versions = {name.removeprefix(f"{place.address.prefix}-").partition("-")[0]: name for name in indexes(place)}
    assert len(indexes(place)) == len(aged.indexes)
    assert all(f"-v{VERSIONS[kind]}" in name for kind, name in versions.items())
    assert not await place.weaviate.has_tenant(aged.shard.name, aged.shard.tenant, budget=budget())
    async with Committer(_stores(leaves), owner="writer") as committer:
        await committer.put(TENANT, NAME, await document("c", "The last word."), budget=budget(60))
    assert await seen(leaves) == {**WHOLE, "c": {"The last word."}}


async def test_an_older_layout_is_refused_at_the_start(place, aged):
    with pytest.raises(LayoutOutdated):
        async with open_opensearch(place.address):
            pass


async def test_both_stores_of_an_older_layout_become_current_with_everything_in_them(place, aged):
    report = await last_of(migration_of(place).migrate(budget=budget(300)))
    assert report == MigrationReport(migrated=len(aged.indexes) + 1, current=0)
    await is_migrated(place, aged)
    again = await last_of(migration_of(place).migrate(budget=budget(300)))
    assert again.migrated == 0


async def test_what_the_new_mapping_adds_is_there_for_what_was_copied(place, aged):
    """The older chunks knew no pairs: a phrase is worth more only when they were analysed anew."""
    await last_of(migration_of(place).migrate(budget=budget(300)))
    alias = next(name for name in indexes(place) if "-chunks-" in name)
    query = {"query": {"match": {"text.pairs": {"query": "second word", "analyzer": "question_pairs"}}}}
    hits = request("POST", f"{place.address.url}/{alias}/_search", query)["hits"]["hits"]
    assert [hit["_source"]["text"] for hit in hits] == ["The second word."]


@pytest.mark.parametrize("steps", [1, 4, 8])
async def test_a_migration_that_breaks_off_is_gone_on_with(place, aged, steps):
    async with aclosing(migration_of(place, "first").migrate(budget=budget(300))) as events:
        for _ in range(steps):
            await anext(events, None)
    await last_of(migration_of(place, "second").migrate(budget=budget(300)))
    await is_migrated(place, aged)


async def test_of_two_migrations_one_does_the_work(place, aged):
    """The other is refused as soon as the first shows that it is alive, or finds everything done."""
    first = asyncio.create_task(last_of(migration_of(place, "first").migrate(budget=budget(300))))
    second = asyncio.create_task(last_of(migration_of(place, "second").migrate(budget=budget(300))))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    everything = len(aged.indexes) + 1
    done = [each for each in outcomes if each == MigrationReport(migrated=everything, current=0)]
    others = [each for each in outcomes if isinstance(each, Conflict) or each == MigrationReport(0, everything)]
    assert (len(done), len(others)) == (1, 1)
    await is_migrated(place, aged)


@pytest.fixture
async def older(tmp_path):
    """An installation of an older OpenSearch layout, as a process of the older version has it open."""
    async with (
        OPENSEARCH.installation(tmp_path) as address,
        vectors(tmp_path / "vectors") as dense,
        connected(address) as ours,
        connected(address) as theirs,
    ):
        first = await opened(ours)
        async with Committer(Stores(first.heads, first.records, dense, first.lexical), owner="filler") as committer:
            for number in range(8):
                await committer.put(TENANT, NAME, await worded(number, 0), budget=budget(60))
        age_opensearch(address, ours)
        leaves = Leaves(
            dense=dense,
            lexical=OpenSearchLexicalIndex(theirs),
            heads=OpenSearchHeads(theirs),
            records=OpenSearchRecords(theirs),
            leases=OpenSearchLeases(theirs),
            holdings={},
            dense_for=lambda *_: dense,
        )
        yield SimpleNamespace(leaves=leaves, engine=ours)


async def worded(number, turn):
    """A document without an outline, of which the older version knows nothing."""
    return replace(await document(f"d{number}", f"A word {number} {turn}."), blocks=None)


async def test_writers_of_the_older_version_lose_nothing_while_opensearch_is_migrated(older):
    """They name aliases: what they commit and purge meanwhile is in the new indexes, or not, as they left it."""
    leaves, clock, is_over = older.leaves, FakeClock(), asyncio.Event()
    model = {f"d{number}": {f"A word {number} 0."} for number in range(8)}
    janitor = Janitor(_stores(leaves), survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)

    async def write(committer):
        turn = 0
        while not is_over.is_set():
            turn += 1
            number = turn % 8
            model[f"d{number}"] = {f"A word {number} {turn}."}
            made = await worded(number, turn)
            await _insistently(lambda made=made: committer.put(TENANT, NAME, made, budget=budget(60)))
            clock.advance(GRACE_S)
            await _insistently(lambda: janitor.tidy(budget=budget(60)))

    async with Committer(_stores(leaves), owner="writer") as committer, asyncio.TaskGroup() as group:
        group.create_task(write(committer))
        mover = OpenSearchMigration(older.engine)
        async for _ in mover.migrate(budget=budget(300)):
            pass
        is_over.set()
    assert mover.migrated == 4
    assert await seen(leaves) == model
    assert await is_sound(leaves)


async def _insistently(work):
    """As a caller does that is told to try again."""
    while True:
        try:
            return await work()
        except (BackendUnavailable, Conflict, DeadlineExceeded):
            await asyncio.sleep(0.05)
