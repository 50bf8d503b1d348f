"""A collection out of one set of leaves and into another: the same passages; or a typed error, and nothing."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest

from chassis.errors import (
    CollectionExists,
    CollectionNotFound,
    Conflict,
    EmbedderMismatch,
    EmbedderUnavailable,
    SearchUnavailable,
)
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.purge import GRACE_S, STALE_AFTER_S
from tests.contract.backup.sides import (
    FINGERPRINT,
    NAME,
    WordEmbedder,
    archive_of,
    corpus,
    document,
    import_target,
    lines_of,
    uid_while_importing,
)
from tests.contract.search.faults import Interposed, failing
from tests.contract.search.samples import TENANT, budget, random_unit

PAIRS = [("embedded", "cluster"), ("cluster", "embedded"), ("embedded", "embedded")]


async def read_into(found: list[bytes], parts) -> None:
    async for part in parts:
        found.append(part.data)


# The same collection


@pytest.mark.parametrize(("origin", "destination"), PAIRS)
async def test_retrieval_over_an_imported_collection_gives_the_same_passages(open_side, origin, destination):
    source, target = await open_side(origin, "a"), await open_side(destination, "b")
    await source.put(*corpus(), document("fields.md", ["word2 replaced"], seed=99))
    made = await target.take(await source.export())
    assert (made.document_count, made.chunk_count) == (33, 332)
    assert await target.documents() == await source.documents()
    for seed in range(5):
        query = random_unit(1_000 + seed, 1)[0]
        for groups in (("*",), ("*", "board")):
            expected = await source.passages("dense", query, groups=groups)
            found = await target.passages("dense", query, groups=groups)
            assert [each[:-1] for each in found] == [each[:-1] for each in expected]
            np.testing.assert_allclose([each[-1] for each in found], [each[-1] for each in expected], atol=1e-5)
    for word in ("word1", "word2 replaced", "中文", "board"):
        expected = await source.passages("lexical", word)
        found = await target.passages("lexical", word)
        assert {each[:-1] for each in found} >= {each[:-1] for each in expected[:5]}


async def test_a_copy_of_a_copy_is_the_same_archive(source, target):
    await source.put(*corpus())
    first = await source.export()
    await target.take(first)
    again = await target.export()
    for mine, theirs in zip(lines_of(first)[1:-1], lines_of(again)[1:-1], strict=True):
        own, other = (np.frombuffer(base64.b64decode(line.pop("vectors", "")), "<f4") for line in (mine, theirs))
        np.testing.assert_allclose(own, other, atol=1e-6)
        assert mine == theirs


@pytest.mark.parametrize("blocks", [None, []])
async def test_a_structure_that_is_not_known_and_one_of_nothing_stay_what_they_are(source, target, blocks):
    await source.put(replace(document("a.md", ["a word"]), blocks=blocks))
    await target.take(await source.export())
    [(_, text, found)] = (await target.documents()).values()
    assert text == "a word"
    assert (found if found is None else list(found)) == blocks


async def test_the_generation_goes_on_and_equal_documents_are_unchanged(source, target):
    await source.put(*corpus()[:3])
    made = await target.take(await source.export())
    assert made.head.snapshot.generation == (await source.head()).snapshot.generation
    await target.put(*corpus()[:3])
    assert (await target.head()).snapshot.generation == made.head.snapshot.generation
    await target.put(document("new.md", ["a new word"]))
    assert (await target.head()).snapshot.generation == made.head.snapshot.generation + 1
    assert len(await target.documents()) == 4


async def test_a_lexical_collection_is_copied_without_vectors(source, target):
    texts = [f"word of the chunk {at}" for at in range(5)]
    await source.put(document("a.md", texts, fingerprint=""))
    await target.take(await source.export())
    assert (await target.head()).embedder_fingerprint == ""
    assert len(await target.passages("lexical", "word")) == 5


async def test_another_embedder_can_compute_the_vectors_anew(source, target):
    await source.put(*corpus()[:3])
    archive = await source.export()
    target.embedder = WordEmbedder()
    changed = lines_of(archive)
    changed[0]["embedder_fingerprint"] = "another/1"
    with pytest.raises(EmbedderMismatch, match="reindex"):
        await target.take(archive_of(changed))
    await target.take(archive_of(changed), reembed=True)
    assert (await target.head()).embedder_fingerprint == FINGERPRINT
    text = "a/board.md > word1 for the board alone"
    best = (await target.passages("dense", (await target.embedder.embed([text], budget=budget()))[0]))[0]
    assert best[0] == "a/board.md"
    assert best[-1] == pytest.approx(1.0, abs=1e-5)


# While others write


async def test_an_export_is_of_one_moment_however_much_is_written_meanwhile(source):
    await source.put(*corpus())
    before = await source.documents()
    parts = source.exporter(page=5, part_bytes=1_000).export(TENANT, NAME, budget=budget(60))
    read = [await anext(parts)]
    await source.put(*(document(name, ["another word"]) for name in before), document("new.md", ["word"]))
    async with Committer(source.stores, owner="writer") as committer:
        await committer.delete(TENANT, NAME, "many/9.md", budget=budget())
    for _ in range(3):
        await source.janitor.tidy(budget=budget())
        source.clock.advance(GRACE_S)
    read += [part async for part in parts]
    rows = [line["document"] for line in lines_of(b"".join(part.data for part in read)) if "document" in line]
    assert {row["document_id"]: row["content_hash"] for row in rows} == {
        name: record.content_hash for name, (record, *_) in before.items()
    }


async def test_an_export_that_lost_what_it_was_to_read_never_ends_as_a_whole_archive(source):
    await source.put(*corpus())
    parts = source.exporter(page=5, part_bytes=1_000).export(TENANT, NAME, budget=budget(60))
    archive = (await anext(parts)).data
    head = await source.head()
    async with Committer(source.stores, owner="writer") as committer:
        await committer.drop_collection(TENANT, NAME, budget=budget())
    rest = [archive]
    with pytest.raises(Conflict):
        await read_into(rest, parts)
    assert b'{"end":' not in b"".join(rest)
    assert await source.is_empty(head.snapshot.uid)


async def test_there_is_nothing_to_export_without_a_collection(source):
    with pytest.raises(CollectionNotFound):
        await source.export()


async def test_vectors_of_another_embedder_are_not_exported(source):
    await source.put(*corpus()[:1])
    with pytest.raises(EmbedderMismatch):
        await anext(source.exporter("another/1").export(TENANT, NAME, budget=budget()))


# Into what is there


async def test_an_existing_collection_is_replaced_only_when_asked_to(source, target):
    await source.put(*corpus()[:3])
    archive = await source.export()
    await target.put(document("old.md", ["an old word"]))
    with pytest.raises(CollectionExists):
        await target.take(archive)
    old = await target.head()
    assert set(await target.documents()) == {"old.md"}
    await target.take(archive, replace=True)
    new = await target.head()
    assert set(await target.documents()) == {"a/board.md", "fields.md", "long.md"}
    assert new.snapshot.generation > old.snapshot.generation
    assert new.snapshot.uid != old.snapshot.uid


async def test_what_was_replaced_stays_until_the_reads_of_it_have_ended(source, target):
    await source.put(*corpus()[:3])
    await target.put(document("old.md", ["an old word"]))
    uid = (await target.head()).snapshot.uid
    seen = []

    async def while_waiting(seconds):
        seen.append((seconds, await target.is_empty(uid), (await target.head()).snapshot.uid != uid))

    await target.take(await source.export(), importer=target.importer(sleep=while_waiting), replace=True)
    assert seen == [(GRACE_S, False, True)]
    assert await target.is_empty(uid)


async def test_a_collection_that_is_made_meanwhile_wins(source, target):
    await source.put(*corpus())
    archive = await source.export()
    seen: list[str] = []

    async def data():
        async for piece in uid_while_importing(target, archive, seen):
            yield piece
            if seen and await target.head() and not (await target.head()).snapshot.generation:
                await target.put(document("mine.md", ["a word of mine"]))

    with pytest.raises(CollectionExists):
        await target.importer().run(TENANT, import_target(), data(), budget=budget(60))
    assert set(await target.documents()) == {"mine.md"}
    assert await target.is_empty(seen[0])


async def test_a_second_import_at_the_same_time_is_a_conflict(source, target):
    await source.put(*corpus())
    archive = await source.export()
    seen: list[str] = []

    async def data():
        async for piece in uid_while_importing(target, archive, seen):
            if len(seen) == 1:
                seen.append("tried")
                with pytest.raises(Conflict, match="under way"):
                    await target.take(archive)
            yield piece

    await target.importer().run(TENANT, import_target(), data(), budget=budget(60))
    assert "tried" in seen
    assert len(await target.documents()) == 33


# What leaves nothing (wrong archives: test_wrong_archives.py)


async def test_a_store_that_fails_in_the_middle_leaves_nothing_and_the_import_can_be_begun_again(source, target):
    await source.put(*corpus())
    archive = await source.export()
    seen: list[str] = []
    lexical = Interposed(target.leaves.lexical)
    lexical.before["seal"] = [failing(SearchUnavailable("lexical search: gone"))]
    stores = Stores(target.leaves.heads, target.leaves.records, target.leaves.dense, lexical)
    data = uid_while_importing(target, archive, seen)
    with pytest.raises(SearchUnavailable):
        await target.importer(stores=stores).run(TENANT, import_target(), data, budget=budget(60))
    assert await target.head() is None
    for uid in seen:
        assert await target.is_empty(uid)
    await target.take(archive)
    assert len(await target.documents()) == 33


async def test_an_import_that_the_janitor_gave_up_never_becomes_visible(source, target):
    await source.put(*corpus())
    archive = await source.export()
    seen: list[str] = []

    async def data():
        async for piece in uid_while_importing(target, archive, seen):
            yield piece
            if len(seen) == 1:
                seen.append("slow")
                for _ in range(2):
                    await target.janitor.tidy(budget=budget())
                    target.clock.advance(STALE_AFTER_S)

    with pytest.raises(Conflict):
        await target.importer().run(TENANT, import_target(), data(), budget=budget(60))
    head = await target.head()
    assert head is None or not head.snapshot.generation
    assert await target.is_empty(seen[0])


async def test_a_server_without_embedder_cannot_compute_vectors(source, open_side):
    target = await open_side("embedded", "target")
    await source.put(*corpus()[1:3])
    archive = await source.export()
    importer = target.importer(embedder=None)
    with pytest.raises(EmbedderMismatch):
        await target.take(archive, importer=importer)
    with pytest.raises(EmbedderUnavailable):
        await target.take(archive, importer=importer, reembed=True)
