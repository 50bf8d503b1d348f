"""Contents staged beside the visible ones, and reads that last: what the janitor may take away, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.errors import Conflict
from retriever.ingest.ledger import beaten, flipped, new_head, staging
from retriever.ingest.pins import TERM_S, ReadPins
from retriever.ingest.purge import GRACE_S, PINNED_LIMIT, STALE_AFTER_S, Janitor
from retriever.types import Staged
from tests.contract.search.clusters import open_cluster
from tests.contract.search.samples import (
    TENANT,
    WHEN,
    FakeClock,
    budget,
    prepared,
    scope,
    texts_by_id,
    vectors_of,
    written,
)

NAME = "handbook"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def janitor(leaves, stores, clock):
    return Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="this process", clock=clock)


async def put(writer, document_id, *texts):
    return await writer.put(TENANT, NAME, prepared(document_id, texts or ["word"]), budget=budget())


async def head_now(leaves):
    return await leaves.heads.get(TENANT, NAME, budget=budget())


async def words_of(leaves, snapshot):
    return texts_by_id(await leaves.lexical.search("word", scope(snapshot), 10, budget=budget()))


async def stage(leaves, uid="staged-uid", owner="a stager"):
    """Contents of one chunk under a uid of their own, named by the head."""
    head = await head_now(leaves) or new_head(TENANT, NAME, uid="none", embedder_fingerprint="embedder/1", now=WHEN)
    head = await leaves.heads.swap(staging(head, Staged(uid, owner)), budget=budget())
    rows = [written("a", 1, 0, ["word staged"])]
    for store in (leaves.dense, leaves.lexical):
        await store.write(TENANT, uid, rows, vectors_of(rows), budget=budget())
        await store.seal(TENANT, uid, 1, budget=budget())
    await leaves.records.put(TENANT, uid, [(rows[0][0], "word staged")], budget=budget())
    contents = new_head(TENANT, NAME, uid=uid, embedder_fingerprint="embedder/1", now=WHEN)
    return head, replace(contents, snapshot=replace(contents.snapshot, generation=1, high=1))


async def test_staged_contents_are_invisible_until_they_take_the_place_of_the_others_at_once(leaves, committer):
    await put(committer, "a", "word old")
    head, contents = await stage(leaves)
    assert await words_of(leaves, head.snapshot) == {"a": {"word old"}}
    new = await leaves.heads.swap(flipped(head, contents), budget=budget())
    assert await words_of(leaves, new.snapshot) == {"a": {"word staged"}}
    assert new.snapshot.generation == head.snapshot.generation + 1


async def test_a_write_goes_on_beside_what_is_staged(leaves, committer):
    await stage(leaves)
    await put(committer, "b", "word other")
    head = await head_now(leaves)
    assert head.staged == Staged("staged-uid", "a stager")
    assert await words_of(leaves, head.snapshot) == {"b": {"word other"}}


async def test_a_write_that_is_under_way_when_the_contents_are_replaced_is_stored_in_the_new_ones(leaves, committer):
    await put(committer, "a", "word old")
    head, contents = await stage(leaves)
    await leaves.heads.swap(flipped(head, contents), budget=budget())
    await put(committer, "b", "word new")
    head = await head_now(leaves)
    assert await words_of(leaves, head.snapshot) == {"a": {"word staged"}, "b": {"word new"}}


async def test_what_a_dead_stager_left_is_removed_and_can_never_become_visible(leaves, committer, janitor, clock):
    await put(committer, "a", "word old")
    head, contents = await stage(leaves)
    await janitor.tidy(budget=budget())
    clock.advance(STALE_AFTER_S)
    await janitor.tidy(budget=budget())
    now = await head_now(leaves)
    assert now.staged is None
    assert await words_of(leaves, contents.snapshot) == {}
    assert await words_of(leaves, now.snapshot) == {"a": {"word old"}}
    with pytest.raises(Conflict):
        await leaves.heads.swap(flipped(head, contents), budget=budget())


async def test_a_stager_that_lives_is_let_alone(leaves, janitor, clock):
    head, contents = await stage(leaves)
    for _ in range(3):
        await janitor.tidy(budget=budget())
        clock.advance(STALE_AFTER_S * 0.9)
        head = await leaves.heads.swap(beaten(head), budget=budget())
    await janitor.tidy(budget=budget())
    assert await words_of(leaves, contents.snapshot) == {"a": {"word staged"}}


async def test_a_process_that_is_alone_removes_at_its_start_what_another_staged(leaves, janitor):
    _, contents = await stage(leaves)
    await janitor.recover(budget=budget())
    assert (await head_now(leaves)).staged is None
    assert await words_of(leaves, contents.snapshot) == {}


async def test_deleting_a_collection_deletes_what_is_staged_for_it(leaves, committer):
    await put(committer, "a", "word old")
    _, contents = await stage(leaves)
    await committer.drop_collection(TENANT, NAME, budget=budget())
    assert await words_of(leaves, contents.snapshot) == {}


async def test_a_process_that_starts_keeps_what_another_one_is_staging(tmp_path):
    # In a cluster only: an embedded catalogue has one process.
    async with open_cluster(tmp_path / "shared") as leaves:
        _, contents = await stage(leaves)
        async with open_cluster(tmp_path / "shared") as beside:
            assert await words_of(beside, contents.snapshot) == {"a": {"word staged"}}


async def test_what_a_long_read_still_reads_is_not_purged(leaves, committer, janitor, clock):
    await put(committer, "a", "word old")
    old = await head_now(leaves)
    async with ReadPins(leaves.leases, owner="a reader").held(old.snapshot.uid, budget=budget()):
        await put(committer, "a", "word new")
        await janitor.tidy(budget=budget())
        clock.advance(GRACE_S)
        await janitor.tidy(budget=budget())
        assert await words_of(leaves, old.snapshot) == {"a": {"word old"}}


async def test_a_pin_lapses_when_its_reader_is_gone(leaves, committer, janitor, clock):
    await put(committer, "a", "word old")
    uid = (await head_now(leaves)).snapshot.uid
    async with ReadPins(leaves.leases, owner="a reader").held(uid, budget=budget()):
        await put(committer, "a", "word new")
    await janitor.tidy(budget=budget())
    for pause_s in (GRACE_S, TERM_S):
        clock.advance(pause_s)
        await janitor.tidy(budget=budget())
    assert (await head_now(leaves)).snapshot.dead == frozenset()


async def test_a_pin_ends_before_writers_have_to_wait_for_it(leaves, committer, janitor, clock):
    await put(committer, "a", "word old")
    head = await head_now(leaves)
    crowded = replace(head.snapshot, dead=frozenset(range(1, PINNED_LIMIT + 1)))
    async with ReadPins(leaves.leases, owner="a reader").held(crowded.uid, budget=budget()):
        await leaves.heads.swap(replace(head, snapshot=crowded), budget=budget())
        await janitor.tidy(budget=budget())
        clock.advance(GRACE_S)
        await janitor.tidy(budget=budget())
    assert (await head_now(leaves)).snapshot.dead == frozenset()
