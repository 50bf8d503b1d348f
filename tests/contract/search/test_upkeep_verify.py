"""`collections verify` on every set of leaves: what is broken is named, and repaired where it can be."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chassis.errors import CollectionNotFound, SearchUnavailable
from retriever.ingest.ledger import opened
from retriever.ingest.purge import GRACE_S, Janitor
from retriever.types import version_of
from retriever.upkeep.repair import Repairer
from retriever.upkeep.stored import Recipe
from retriever.upkeep.sweep import Sweeper, unnamed
from retriever.upkeep.verify import Verifier
from tests.contract.search.conftest import ADAPTERS
from tests.contract.search.samples import (
    TENANT,
    FakeClock,
    budget,
    scope,
    texts_by_id,
    unit,
    vectors_of,
    written,
)
from tests.contract.search.upkeeping import FIRST, WALL, document, last_of, reasons, recipe, upkeep_stores

NAME = "handbook"


@pytest.fixture(params=["cluster", "embedded"])
def open_leaves(request):
    """The two sets of leaves as they are used; the mixed ones of the other suites have no adapter that these lack."""
    return ADAPTERS[request.param]


@pytest.fixture
def verifier(leaves):
    stores = upkeep_stores(leaves)
    return Verifier(stores, Repairer(stores, recipe, owner="operator", now=lambda: WALL))


async def put(committer, name, text, **changes):
    return await committer.put(TENANT, NAME, await document(name, text, **changes), budget=budget())


@pytest.fixture
async def filled(leaves, committer):
    """Three documents, one of them of several pages and for some readers only."""
    await put(committer, "a", "The first word.\nThe second word.", pages=True, groups=("board",))
    await put(committer, "b", "Another word.", metadata={"year": 2024.0})
    await put(committer, "c", "The last word.")
    return await head_of(leaves)


async def head_of(leaves):
    return await leaves.heads.get(TENANT, NAME, budget=budget())


async def checked(verifier, *, repair=False):
    return await last_of(verifier.verify(TENANT, NAME, repair=repair, budget=budget(60)))


async def seen(leaves, groups=("*", "board")):
    head = await head_of(leaves)
    within = scope(head.snapshot, groups=groups)
    dense = texts_by_id(await leaves.dense.search(unit(1.0), within, 1_000, budget=budget()))
    assert dense == texts_by_id(await leaves.lexical.search("word", within, 1_000, budget=budget()))
    return dense


WHOLE = {"a": {"The first word.", "The second word."}, "b": {"Another word."}, "c": {"The last word."}}


async def version_named(leaves, name):
    head = await head_of(leaves)
    return (await leaves.records.visible(TENANT, head.snapshot, [name], budget=budget()))[name].version


async def test_a_sound_collection_has_no_findings_and_its_counts(verifier, filled):
    report = await checked(verifier)
    assert report.findings == ()
    assert (report.documents, report.chunks, dict(report.found)) == (3, 4, {"dense": 4, "lexical": 4})
    assert (report.uid, report.generation, report.is_sound) == (filled.snapshot.uid, 3, True)


async def test_what_is_not_there_is_not_verified(verifier):
    with pytest.raises(CollectionNotFound):
        await checked(verifier)


@pytest.mark.parametrize("lost", [("dense",), ("lexical",), ("dense", "lexical")])
async def test_missing_chunks_are_named_and_come_back_as_they_were(leaves, verifier, filled, lost):
    version = await version_named(leaves, "a")
    before = await leaves.lexical.chunks(TENANT, filled.snapshot.uid, version, budget=budget())
    for store in lost:
        while await getattr(leaves, store).purge(TENANT, filled.snapshot.uid, [version], budget=budget()):
            pass
    report = await checked(verifier)
    assert reasons(report.findings) == [("CHUNKS_MISSING", store, "a", 2) for store in lost]
    assert not report.is_sound

    repaired = await checked(verifier, repair=True)

    assert repaired.is_sound
    assert (await checked(verifier)).findings == ()
    assert await seen(leaves) == WHOLE
    assert await seen(leaves, groups=("*",)) == {name: WHOLE[name] for name in ("b", "c")}
    now = await version_named(leaves, "a")
    after = await leaves.lexical.chunks(TENANT, filled.snapshot.uid, now, budget=budget())
    assert [(c.text, c.page, c.start_char, c.embed_text) for c in after] == [
        (c.text, c.page, c.start_char, c.embed_text) for c in before
    ]


async def test_a_repair_costs_one_generation_and_keeps_the_record(leaves, verifier, filled):
    version = await version_named(leaves, "b")
    old = (await leaves.records.visible(TENANT, filled.snapshot, ["b"], budget=budget()))["b"]
    await leaves.dense.purge(TENANT, filled.snapshot.uid, [version], budget=budget())
    await checked(verifier, repair=True)
    head = await head_of(leaves)
    new = (await leaves.records.visible(TENANT, head.snapshot, ["b"], budget=budget()))["b"]
    assert head.snapshot.generation == filled.snapshot.generation + 1
    assert replace(new, version=old.version) == old


async def test_chunks_that_nothing_accounts_for_are_deleted(leaves, verifier, filled):
    """A late writer under a number that was purged long ago, or under one that nobody was given."""
    ghosts = [written("ghost", 1, 9, ["a word of a ghost"]), written("later", 90, 0, ["a later word"])]
    for store in (leaves.dense, leaves.lexical):
        await store.write(TENANT, filled.snapshot.uid, ghosts, vectors_of(ghosts), budget=budget())
        for number in (1, 90):
            await store.seal(TENANT, filled.snapshot.uid, number, budget=budget())
    # SQLite keeps the record that a hit shows with the chunks: gone with the purge of old, as in the other stores.
    versions = [each.version for each, _ in ghosts]
    await leaves.records.purge(TENANT, filled.snapshot.uid, versions, budget=budget())

    report = await checked(verifier, repair=True)

    assert [each.kind.value for each in report.findings] == ["CHUNKS_GHOST"] * 4
    assert report.is_sound
    assert (await checked(verifier)).findings == ()
    assert await seen(leaves) == WHOLE


async def test_a_document_with_more_chunks_than_it_was_cut_into_is_written_again(leaves, verifier, filled):
    version = await version_named(leaves, "c")
    held = written("c", version >> 16, version & 0xFFFF, ["The last word.", "a surplus word"])
    await leaves.lexical.write(TENANT, filled.snapshot.uid, [held], None, budget=budget())
    await leaves.lexical.seal(TENANT, filled.snapshot.uid, version >> 16, budget=budget())
    report = await checked(verifier, repair=True)
    assert reasons(report.findings) == [("CHUNKS_SURPLUS", "lexical", "c", 1)]
    assert await seen(leaves) == WHOLE


async def test_of_a_document_that_is_visible_twice_the_older_one_goes(leaves, verifier, filled):
    twin = written("b", 2, 7, ["Another word."])
    for store in (leaves.dense, leaves.lexical):
        await store.write(TENANT, filled.snapshot.uid, [twin], vectors_of([twin]), budget=budget())
        await store.seal(TENANT, filled.snapshot.uid, 2, budget=budget())
    await leaves.records.put(TENANT, filled.snapshot.uid, [(twin[0], "Another word.")], budget=budget())
    report = await checked(verifier, repair=True)
    assert reasons(report.findings) == [("DOCUMENT_DOUBLED", "catalogue", "b", 1)]
    assert (await head_of(leaves)).snapshot.dead == {version_of(2, 0)}
    assert (await checked(verifier)).findings == ()


async def test_a_collections_embedder_that_is_not_here_is_the_obstacle(leaves, filled):
    stores = upkeep_stores(leaves)
    without = Repairer(stores, lambda _: Recipe(FIRST, None, None), owner="operator", now=lambda: WALL)
    version = await version_named(leaves, "b")
    await leaves.dense.purge(TENANT, filled.snapshot.uid, [version], budget=budget())
    report = await checked(Verifier(stores, without), repair=True)
    assert reasons(report.findings) == [("CHUNKS_MISSING", "dense", "b", 1)]
    assert "retriever that has it" in report.findings[0].obstacle
    assert not report.is_sound


async def test_dead_open_and_aborted_versions_are_counted_and_are_no_fault(leaves, verifier, committer, filled):
    await committer.delete(TENANT, NAME, "c", budget=budget())
    head, number = opened(await head_of(leaves), "alive")
    await leaves.heads.swap(head, budget=budget())
    rows = [written("ghost", number, 0, ["word"])]
    await leaves.lexical.write(TENANT, filled.snapshot.uid, rows, None, budget=budget())
    report = await checked(verifier)
    assert (report.findings, report.dead_versions, report.open_transactions) == ((), 1, 1)
    aborted = replace(await head_of(leaves), open_numbers={})
    await leaves.heads.swap(aborted, budget=budget())
    report = await checked(verifier)
    assert (report.findings, report.aborted_chunks) == ((), 1)


async def test_writes_and_purges_during_a_check_are_no_findings(leaves, stores, verifier, committer, filled):
    clock = FakeClock()
    janitor = Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock)
    is_over = asyncio.Event()

    async def busy():
        turn = 0
        while not is_over.is_set():
            turn += 1
            await put(committer, "b", f"Another word, {turn}.")
            await put(committer, f"extra {turn % 3}", f"A word {turn}.")
            await committer.delete(TENANT, NAME, f"extra {turn % 3}", budget=budget())
            clock.advance(GRACE_S)
            await janitor.tidy(budget=budget())

    async with asyncio.TaskGroup() as group:
        group.create_task(busy())
        for _ in range(8):
            report = await checked(verifier, repair=True)
            assert report.findings == ()
        is_over.set()


class FindsLess:
    """A store whose search misses the first chunk of its first `times` scans, as a graph may that is written to."""

    def __init__(self, store, times):
        self._store = store
        self._times = times

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def found(self, tenant, uid, *, budget):
        self._times -= 1
        skipped = 1 if self._times >= 0 else 0
        async for batch in self._store.found(tenant, uid, budget=budget):
            yield batch[skipped:]
            skipped = 0


@pytest.mark.parametrize(("times", "findings"), [(2, 0), (3, 1)])
async def test_only_what_no_look_finds_is_missing(leaves, filled, times, findings):
    stores = upkeep_stores(leaves)
    stores = replace(stores, lexical=FindsLess(stores.lexical, times))
    verifier = Verifier(stores, Repairer(stores, recipe, owner="operator", now=lambda: WALL))
    report = await checked(verifier)
    assert len(report.findings) == findings


async def test_what_no_head_names_is_swept_after_it_was_seen_twice(leaves, filled):
    late = [written("late", 1, 0, ["word"])]
    for store in (leaves.dense, leaves.lexical):
        await store.write(TENANT, "dropped", late, vectors_of(late), budget=budget())
    await leaves.records.put(TENANT, "dropped", [(late[0][0], "word")], budget=budget())
    sweeper = Sweeper(leaves.heads, leaves.holdings)
    assert await sweeper.sweep(budget=budget()) == 0
    assert await sweeper.sweep(budget=budget()) == len(leaves.holdings)
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await leaves.records.versions(TENANT, "dropped", range(1 << 40), limit=5, budget=budget()) == []
    assert await seen(leaves) == WHOLE


async def test_nothing_is_swept_where_no_head_is_left(leaves, filled):
    """An emptied catalogue names nothing; what the stores hold may be all that is left of it."""
    await leaves.heads.remove(await head_of(leaves), budget=budget())
    sweeper = Sweeper(leaves.heads, leaves.holdings)
    assert [await sweeper.sweep(budget=budget()) for _ in range(3)] == [0, 0, 0]
    await leaves.heads.swap(replace(filled, revision=0), budget=budget())
    assert await seen(leaves) == WHOLE


async def test_what_cannot_be_swept_keeps_nothing_else_from_it(leaves, filled):
    for uid in ("dropped one", "dropped two"):
        late = [written("late", 1, 0, ["word"])]
        await leaves.lexical.write(TENANT, uid, late, None, budget=budget())
    name, holdings = next(iter(leaves.holdings.items()))
    broken = FailsOnce(holdings)
    sweeper = Sweeper(leaves.heads, {name: broken})
    await sweeper.sweep(budget=budget())
    with pytest.raises(SearchUnavailable):
        await sweeper.sweep(budget=budget())
    assert len(await unnamed(leaves.heads, {name: holdings}, budget=budget())) == 1
    assert await sweeper.sweep(budget=budget()) == 1


class FailsOnce:
    """Holdings of which the first thing cannot be dropped, once."""

    def __init__(self, holdings):
        self._holdings = holdings
        self._has_failed = False

    def __getattr__(self, name):
        return getattr(self._holdings, name)

    async def drop_named(self, name, *, budget):
        if not self._has_failed:
            self._has_failed = True
            raise SearchUnavailable("this one is broken")
        await self._holdings.drop_named(name, budget=budget)


async def test_every_head_can_be_read(leaves, filled):
    assert await leaves.heads.unreadable(budget=budget()) == []


async def test_an_audit_reads_everything_whoever_may_read_it(leaves, filled):
    uid, snapshot = filled.snapshot.uid, filled.snapshot
    stored = await leaves.records.versions(TENANT, uid, range(1 << 40), limit=10, budget=budget())
    assert [(each.record.document_id, each.has_text) for each in stored] == [("a", True), ("b", True), ("c", True)]
    some = [each.record.version for each in stored[1:]]
    found = await leaves.records.versions(TENANT, uid, some, limit=1, budget=budget())
    assert [each.record.document_id for each in found] == ["b"]
    assert await leaves.records.counts(TENANT, snapshot, budget=budget()) == (3, 4)
    blocks = await leaves.records.blocks(TENANT, uid, stored[0].record.version, budget=budget())
    assert [(each.page, each.start_char) for each in blocks] == [(1, 0), (2, 16)]
    for store in (leaves.dense, leaves.lexical):
        places = [place async for batch in store.found(TENANT, uid, budget=budget()) for place in batch]
        expected = [(each.record.version, at) for each in stored for at in range(each.record.chunk_count)]
        assert sorted(places) == expected
        chunks = await store.chunks(TENANT, uid, stored[0].record.version, budget=budget())
        assert [each.text for each in chunks] == ["The first word.", "The second word."]
        assert [batch async for batch in store.found(TENANT, "nothing", budget=budget())] == []
        assert await store.chunks(TENANT, "nothing", 1, budget=budget()) == []
