"""`collections reindex` and `rollback` on every set of leaves, with readers and writers at work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chassis.errors import CollectionNotFound, Conflict, EmbedderUnavailable, RollbackUnavailable, SearchUnavailable
from retriever.ingest.commit import Committer
from retriever.ingest.lease import TERM_S, LeaseKeeper
from retriever.ingest.purge import GRACE_S, Janitor
from retriever.types import BUILD_SUFFIX
from retriever.upkeep.aftermath import ABANDONED_S, HOLD_LIMIT_S, SWEEP_INTERVAL_S, Aftermath
from retriever.upkeep.reindexing import Reindexer
from retriever.upkeep.repair import Repairer
from retriever.upkeep.stored import Recipe
from retriever.upkeep.sweep import Sweeper, unnamed
from retriever.upkeep.verify import Verifier
from tests.contract.search.conftest import ADAPTERS
from tests.contract.search.faults import Interposed, failing
from tests.contract.search.samples import TENANT, FakeClock, budget, scope, texts_by_id, unit
from tests.contract.search.upkeeping import EMBEDDERS, FIRST, SECOND, WALL, document, last_of, recipe, upkeep_stores

NAME = "handbook"


@pytest.fixture(params=["cluster", "embedded"])
def open_leaves(request):
    """The two sets of leaves as they are used; the mixed ones of the other suites have no adapter that these lack."""
    return ADAPTERS[request.param]


KEEP = timedelta(days=7)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def aftermath(leaves, clock):
    sweeper = Sweeper(leaves.heads, leaves.holdings)
    return Aftermath(leaves.heads, sweeper, clock=clock, now=lambda: WALL + KEEP)


@pytest.fixture
def janitor(leaves, stores, aftermath, clock):
    return Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock, aftermath=aftermath)


def reindexer_over(leaves, owner="operator", recipes=recipe, **changes):
    stores = replace(upkeep_stores(leaves), **changes)
    return Reindexer(stores, recipes, owner=owner, now=lambda: WALL)


@pytest.fixture
def reindexer(leaves):
    return reindexer_over(leaves)


async def put(committer, name, text, fingerprint=FIRST, **changes):
    prepared = await document(name, text, fingerprint=fingerprint, **changes)
    return await committer.put(TENANT, NAME, prepared, budget=budget(60))


@pytest.fixture
async def filled(leaves, committer):
    await put(committer, "a", "The first word.\nThe second word.", pages=True, groups=("board",))
    await put(committer, "b", "Another word.", metadata={"year": 2024.0})
    await put(committer, "c", "The last word.")
    await committer.delete(TENANT, NAME, "c", budget=budget())
    return await head_of(leaves)


async def head_of(leaves, name=NAME) -> Any:
    return await leaves.heads.get(TENANT, name, budget=budget())


async def rebuilt(reindexer, fingerprint=SECOND, keep=KEEP):
    return await last_of(reindexer.reindex(TENANT, NAME, recipe(fingerprint), keep=keep, budget=budget(300)))


async def rolled_back(reindexer):
    return await last_of(reindexer.roll_back(TENANT, NAME, budget=budget(300)))


async def seen(leaves, head=None):
    """What a reader sees, by both legs and the catalogue, which must agree."""
    head = head or await head_of(leaves)
    within = scope(head.snapshot, groups=("*", "board"))
    dense = leaves.dense_for(head.embedder_fingerprint, 8)
    found = texts_by_id(await leaves.lexical.search("word", within, 1_000, budget=budget()))
    assert texts_by_id(await dense.search(unit(1.0), within, 1_000, budget=budget())) == found
    listed, _ = await leaves.records.page(within, after="", limit=1_000, budget=budget())
    assert [each.document_id for each in listed] == sorted(found)
    return found


WHOLE = {"a": {"The first word.", "The second word."}, "b": {"Another word."}}


async def is_sound(leaves):
    stores = upkeep_stores(leaves)
    verifier = Verifier(stores, Repairer(stores, recipe, owner="operator", now=lambda: WALL))
    report = await last_of(verifier.verify(TENANT, NAME, repair=False, budget=budget(60)))
    return report.findings == ()


async def test_a_reindex_keeps_documents_and_changes_uid_and_embedder(leaves, reindexer, filled):
    within = scope(filled.snapshot, groups=("*", "board"))
    before, _ = await leaves.records.page(within, after="", limit=10, budget=budget())

    report = await rebuilt(reindexer)

    head = await head_of(leaves)
    assert (report.old_uid, report.new_uid) == (filled.snapshot.uid, head.snapshot.uid)
    assert report.old_uid != report.new_uid
    assert (report.generation, head.snapshot.generation > filled.snapshot.generation) == (
        head.snapshot.generation,
        True,
    )
    assert (report.documents, report.chunks, report.embedder_fingerprint) == (2, 3, SECOND)
    assert (head.embedder_fingerprint, head.fields, head.held_by) == (SECOND, filled.fields, "")
    assert await seen(leaves) == WHOLE
    within = scope(head.snapshot, groups=("*", "board"))
    after, _ = await leaves.records.page(within, after="", limit=10, budget=budget())
    for old, new in zip(before, after, strict=True):
        assert replace(new, version=old.version, content_hash=old.content_hash) == old
    assert await is_sound(leaves)
    assert await leaves.heads.get(TENANT, NAME + BUILD_SUFFIX, budget=budget()) is None


async def test_the_vectors_of_a_reindex_are_the_new_embedders(leaves, reindexer, filled):
    await rebuilt(reindexer)
    head = await head_of(leaves)
    [vector] = await EMBEDDERS[SECOND].embed(["Another word."], budget=None)
    hits = await leaves.dense_for(SECOND, 8).search(vector, scope(head.snapshot), 1, budget=budget())
    assert hits[0].chunk.text == "Another word."
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)


async def test_a_document_that_is_sent_again_after_a_reindex_is_unchanged(leaves, reindexer, committer, filled):
    await rebuilt(reindexer)
    again = await put(committer, "b", "Another word.", fingerprint=SECOND, metadata={"year": 2024.0})
    assert again.outcome.value == "UNCHANGED"


async def test_readers_of_the_old_snapshot_and_pages_and_groups_outlive_the_flip(leaves, reindexer, filled):
    await rebuilt(reindexer)
    assert await seen(leaves, filled) == WHOLE
    head = await head_of(leaves)
    for_all = await leaves.lexical.search("word", scope(head.snapshot), 10, budget=budget())
    assert texts_by_id(for_all) == {"b": {"Another word."}}
    board = await leaves.lexical.search("word", scope(head.snapshot, groups=("board",)), 10, budget=budget())
    assert sorted(hit.chunk.page for hit in board) == [1, 2]


async def test_a_build_is_no_collection_that_a_caller_sees(leaves, reindexer, filled):
    ports: Any = Interposed(leaves.heads)
    names = []

    async def look():
        names.append([head.name for head in await leaves.heads.list(TENANT, after="", limit=9, budget=budget())])

    ports.before["swap"] = [look] * 50
    await rebuilt(reindexer_over(leaves, heads=ports))
    assert names
    assert {tuple(each) for each in names} == {(NAME,)}


async def test_writes_made_during_a_reindex_are_in_the_result(leaves, stores, janitor, clock, filled):
    """Writers never stop; the purger runs; every acknowledged write is there, no deleted document is."""
    model = {"a": WHOLE["a"], "b": WHOLE["b"]}
    is_over = asyncio.Event()

    async def write(number, committer):
        turn = 0
        while not is_over.is_set():
            turn += 1
            name, text = f"w{number}", f"A word {turn} of writer {number}."
            await put(committer, name, text, fingerprint=FIRST)
            model[name] = {text}
            if turn % 3 == 0:
                await committer.delete(TENANT, NAME, name, budget=budget(60))
                del model[name]

    async def keep_house():
        while not is_over.is_set():
            clock.advance(GRACE_S)
            await janitor.tidy(budget=budget(60))

    async with Committer(stores, owner="writer") as committer, asyncio.TaskGroup() as group:
        group.create_task(keep_house())
        for number in range(2):
            group.create_task(write(number, committer))
        for _ in range(2):
            report = await rebuilt(reindexer_over(leaves), FIRST)
            assert report.generation <= (await head_of(leaves)).snapshot.generation
        is_over.set()
    assert await seen(leaves) == model
    assert await is_sound(leaves)


async def test_a_writer_with_the_old_embedder_is_refused_after_the_flip(leaves, reindexer, committer, filled):
    await rebuilt(reindexer)
    with pytest.raises(EmbedderUnavailable):
        await put(committer, "d", "A word.")


async def test_the_generation_never_goes_back_over_reindex_and_rollback(leaves, reindexer, committer, filled):
    names = {(filled.snapshot.uid, filled.snapshot.generation)}
    last = filled.snapshot.generation
    for step in (lambda: rebuilt(reindexer), lambda: rolled_back(reindexer), lambda: rebuilt(reindexer)):
        await step()
        snapshot = (await head_of(leaves)).snapshot
        assert snapshot.generation > last
        last = snapshot.generation
        assert (snapshot.uid, snapshot.generation) not in names
        names.add((snapshot.uid, snapshot.generation))
    assert await seen(leaves) == WHOLE


async def test_a_rollback_brings_the_old_uid_back_with_what_was_written_since(leaves, reindexer, committer, filled):
    await rebuilt(reindexer)
    await put(committer, "d", "A new word.", fingerprint=SECOND)
    await put(committer, "b", "Another word, changed.", fingerprint=SECOND)
    await committer.delete(TENANT, NAME, "a", budget=budget())

    report = await rolled_back(reindexer)

    head = await head_of(leaves)
    assert (head.snapshot.uid, head.embedder_fingerprint) == (filled.snapshot.uid, FIRST)
    assert report.changed == 3
    assert await seen(leaves) == {"b": {"Another word, changed."}, "d": {"A new word."}}
    assert await is_sound(leaves)
    with pytest.raises(RollbackUnavailable):
        await rolled_back(reindexer)


async def test_a_rollback_without_writes_since_needs_no_embedder(leaves, reindexer, filled):
    await rebuilt(reindexer)
    blind = reindexer_over(leaves, recipes=lambda fingerprint: Recipe(fingerprint, None, None))
    assert (await rolled_back(blind)).changed == 0
    assert await seen(leaves) == WHOLE


async def test_a_rollback_that_is_given_up_never_gives_a_number_twice(leaves, reindexer, committer, filled):
    await rebuilt(reindexer)
    await put(committer, "d", "A new word.", fingerprint=SECOND)
    halfway: Any = Interposed(leaves.heads)
    broken = reindexer_over(leaves, heads=halfway, lexical=(lexical := Interposed(leaves.lexical)))
    lexical.after["seal"] = [failing(SearchUnavailable("down"))]
    with pytest.raises(SearchUnavailable):
        await rolled_back(broken)
    used = (await head_of(leaves, NAME + BUILD_SUFFIX)).snapshot.high
    assert await reindexer.cancel(TENANT, NAME, budget=budget())
    assert (await head_of(leaves)).retired.snapshot.high == used
    await put(committer, "d", "A newer word.", fingerprint=SECOND)
    await rolled_back(reindexer)
    assert await seen(leaves) == {**WHOLE, "d": {"A newer word."}}
    assert await is_sound(leaves)


async def test_nothing_kept_is_nothing_to_roll_back_to(leaves, reindexer, filled):
    with pytest.raises(RollbackUnavailable):
        await rolled_back(reindexer)
    await rebuilt(reindexer, keep=None)
    with pytest.raises(RollbackUnavailable):
        await rolled_back(reindexer)


async def test_what_was_kept_long_enough_is_swept(leaves, janitor, reindexer, filled, clock):
    await rebuilt(reindexer)
    for _ in range(3):
        await janitor.tidy(budget=budget())
        clock.advance(SWEEP_INTERVAL_S)
    assert (await head_of(leaves)).retired is None
    old = filled.snapshot.uid
    assert await leaves.records.versions(TENANT, old, range(1 << 40), limit=5, budget=budget()) == []
    assert [batch async for batch in leaves.lexical.found(TENANT, old, budget=budget())] == []
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await seen(leaves) == WHOLE


async def test_a_second_run_is_refused_while_the_first_is_alive(leaves, reindexer, filled):
    async with asyncio.timeout(60):
        events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
        await anext(events)

        async def sleep(_):
            holder = LeaseKeeper(leaves.leases, f"reindex {TENANT} {NAME}", owner="")
            lease = await leaves.leases.get(f"reindex {TENANT} {NAME}", budget=budget())
            await holder._swap(replace(lease, beats=lease.beats + 1), budget())

        stores = upkeep_stores(leaves)
        second = Reindexer(stores, recipe, owner="another", now=lambda: WALL, sleep=sleep)
        with pytest.raises(Conflict):
            await rebuilt(second)
        await events.aclose()
    await rebuilt(reindexer)
    assert await seen(leaves) == WHOLE


@pytest.mark.parametrize("port", ["heads", "records", "lexical"])
@pytest.mark.parametrize("call", [1, 3, 6])
async def test_a_run_that_breaks_anywhere_is_gone_on_with(leaves, filled, clock, port, call):
    """The break comes after the n-th call that changes something; another process, later, finishes the work."""
    method = {"heads": "swap", "records": "put", "lexical": "write"}[port]
    ports: Any = Interposed(getattr(leaves, port))
    ports.after[method] = [*[_pass] * (call - 1), failing(SearchUnavailable("killed"))]
    broken = reindexer_over(leaves, owner="broken", **{port: ports})
    try:
        await rebuilt(broken)
    except SearchUnavailable:
        assert await seen(leaves) == WHOLE
    await rebuilt(reindexer_over(leaves, owner="next"))
    assert await seen(leaves) == WHOLE
    assert (await head_of(leaves)).embedder_fingerprint == SECOND
    assert await is_sound(leaves)


async def _pass():
    pass


async def test_a_run_that_was_stopped_and_goes_on_later_changes_nothing(leaves, committer, filled):
    """It held a page of old documents in its hands while another run took over and a document was replaced."""
    held: Any = Interposed(leaves.records)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stop():
        reached.set()
        await go_on.wait()

    held.before["put"] = [stop]
    stopped = reindexer_over(leaves, owner="stopped", records=held)
    task = asyncio.create_task(rebuilt(stopped))
    async with asyncio.timeout(60):
        await reached.wait()
        build = await head_of(leaves, NAME + BUILD_SUFFIX)
        lease = await leaves.leases.get(f"reindex {TENANT} {NAME}", budget=budget())
        await leaves.leases.swap(replace(lease, owner=""), budget=budget())  # its term is over
        await put(committer, "b", "Another word, changed.")
        await rebuilt(reindexer_over(leaves, owner="next"))
        go_on.set()
        with pytest.raises(Conflict):
            await task
    assert (await head_of(leaves)).snapshot.uid == build.snapshot.uid
    assert await seen(leaves) == {**WHOLE, "b": {"Another word, changed."}}
    assert await is_sound(leaves)


async def test_a_run_that_wakes_up_while_another_is_at_work_writes_nothing_into_its_build(leaves, committer, filled):
    held: Any = Interposed(leaves.records)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stop():
        reached.set()
        await go_on.wait()

    held.before["put"] = [stop]
    task = asyncio.create_task(rebuilt(reindexer_over(leaves, owner="stopped", records=held)))
    async with asyncio.timeout(100):
        await reached.wait()
        lease = await leaves.leases.get(f"reindex {TENANT} {NAME}", budget=budget())
        await leaves.leases.swap(replace(lease, owner=""), budget=budget())  # its term is over
        await put(committer, "b", "Another word, changed.")
        next_run = reindexer_over(leaves, owner="next").reindex(
            TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300)
        )
        while (await anext(next_run)).stage != "flip":
            pass
        go_on.set()
        with pytest.raises(Conflict):
            await task
        await last_of(next_run)
    assert await seen(leaves) == {**WHOLE, "b": {"Another word, changed."}}
    assert await is_sound(leaves)


class AtTheSwap:
    """Heads that stop a run where it is about to put its build in place, the first time."""

    def __init__(self, heads):
        self._heads = heads
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._heads, name)

    async def swap(self, head, *, budget):
        if head.retired is not None and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
        return await self._heads.swap(head, budget=budget)


async def test_a_run_whose_hold_was_ended_brings_over_what_was_written_since(leaves, committer, janitor, clock, filled):
    heads = AtTheSwap(leaves.heads)
    task = asyncio.create_task(rebuilt(reindexer_over(leaves, heads=heads), FIRST))
    async with asyncio.timeout(100):
        await heads.reached.wait()
        await janitor.tidy(budget=budget())
        clock.advance(HOLD_LIMIT_S)
        await janitor.tidy(budget=budget())
        await put(committer, "d", "A word.")
        heads.go_on.set()
        await task
    assert await seen(leaves) == {**WHOLE, "d": {"A word."}}
    assert await is_sound(leaves)


async def test_a_commit_waits_at_a_hold_until_the_janitor_ends_one_of_a_dead_run(
    leaves, stores, janitor, clock, filled
):
    await leaves.heads.swap(replace(filled, held_by="a dead run"), budget=budget())
    await janitor.tidy(budget=budget())
    heads: Any = Interposed(stores.heads)
    lexical: Any = Interposed(stores.lexical)
    sealed = asyncio.Event()

    async def note():
        sealed.set()

    lexical.after["seal"] = [note]
    async with Committer(replace(stores, heads=heads, lexical=lexical), owner="writer") as committer:
        writing = asyncio.create_task(put(committer, "d", "A word."))
        async with asyncio.timeout(60):
            await sealed.wait()
            looks = len(heads.calls)
            while len(heads.calls) < looks + 6:  # it looks again and again whether the hold is over
                assert not writing.done()
                await asyncio.sleep(0.01)
        assert "d" not in await seen(leaves)
        clock.advance(HOLD_LIMIT_S)
        await janitor.tidy(budget=budget())
        assert (await writing).outcome.value == "STORED"
    assert "d" in await seen(leaves)


async def test_a_build_that_nobody_touches_is_removed_with_what_it_holds(leaves, reindexer, janitor, clock, filled):
    ports: Any = Interposed(leaves.lexical)
    ports.after["seal"] = [failing(SearchUnavailable("killed"))]
    with pytest.raises(SearchUnavailable):
        await rebuilt(reindexer_over(leaves, lexical=ports))
    await janitor.tidy(budget=budget())
    clock.advance(ABANDONED_S)
    for _ in range(3):
        await janitor.tidy(budget=budget())
        clock.advance(max(SWEEP_INTERVAL_S, TERM_S / 2))
    assert await head_of(leaves, NAME + BUILD_SUFFIX) is None
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await seen(leaves) == WHOLE


async def test_a_collection_that_is_dropped_during_its_reindex_leaves_nothing(
    leaves, stores, reindexer, janitor, clock, committer, filled
):
    events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
    await anext(events)
    await committer.drop_collection(TENANT, NAME, budget=budget())
    with pytest.raises((CollectionNotFound, Conflict)):
        await last_of(events)
    for _ in range(3):
        await janitor.tidy(budget=budget())
        clock.advance(SWEEP_INTERVAL_S)
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await leaves.heads.every(after=("", ""), limit=9, budget=budget()) == []


async def test_an_unfinished_reindex_can_be_cancelled(leaves, reindexer, filled):
    events = reindexer.reindex(TENANT, NAME, recipe(SECOND), keep=KEEP, budget=budget(300))
    await anext(events)
    await events.aclose()
    assert await reindexer.cancel(TENANT, NAME, budget=budget())
    assert not await reindexer.cancel(TENANT, NAME, budget=budget())
    assert await unnamed(leaves.heads, leaves.holdings, budget=budget()) == set()
    assert await seen(leaves) == WHOLE


async def test_a_lexical_collection_is_reindexed_for_an_embedder_and_back(leaves, reindexer, committer):
    await put(committer, "a", "A word.", fingerprint="")
    assert (await rebuilt(reindexer, FIRST)).embedder_fingerprint == FIRST
    assert await seen(leaves) == {"a": {"A word."}}
    assert (await rebuilt(reindexer, "")).embedder_fingerprint == ""
    head = await head_of(leaves)
    found = await leaves.lexical.search("word", scope(head.snapshot), 5, budget=budget())
    assert texts_by_id(found) == {"a": {"A word."}}
