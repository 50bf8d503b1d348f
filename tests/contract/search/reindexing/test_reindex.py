"""`collections reindex` and `rollback` on every set of leaves, with readers and writers at work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chassis.errors import EmbedderUnavailable, RollbackUnavailable
from retriever.ingest.commit import Committer
from retriever.ingest.purge import GRACE_S
from retriever.types import BUILD_SUFFIX
from retriever.upkeep.aftermath import SWEEP_INTERVAL_S
from retriever.upkeep.stored import Recipe
from retriever.upkeep.sweep import unnamed
from tests.contract.search.faults import Interposed
from tests.contract.search.reindexing.runs import (
    NAME,
    WHOLE,
    head_of,
    is_sound,
    put,
    rebuilt,
    reindexer_over,
    rolled_back,
    seen,
)
from tests.contract.search.samples import TENANT, budget, scope, texts_by_id
from tests.contract.search.upkeeping import EMBEDDERS, FIRST, SECOND


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


async def test_a_lexical_collection_is_reindexed_for_an_embedder_and_back(leaves, reindexer, committer):
    await put(committer, "a", "A word.", fingerprint="")
    assert (await rebuilt(reindexer, FIRST)).embedder_fingerprint == FIRST
    assert await seen(leaves) == {"a": {"A word."}}
    assert (await rebuilt(reindexer, "")).embedder_fingerprint == ""
    head = await head_of(leaves)
    found = await leaves.lexical.search("word", scope(head.snapshot), 5, budget=budget())
    assert texts_by_id(found) == {"a": {"A word."}}
