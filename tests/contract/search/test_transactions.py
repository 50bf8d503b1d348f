"""The write protocol over a set of leaves: what is acknowledged is visible, what fails never was."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import (
    CatalogueUnavailable,
    CollectionNotFound,
    DeadlineExceeded,
    DocumentNotFound,
    EmbedderUnavailable,
    InternalError,
    MetadataConflict,
    SearchUnavailable,
    StorageFull,
)
from retriever.ingest.commit import Committer
from retriever.ingest.ledger import aborted
from retriever.types import FieldType, Outcome, PutResult
from tests.contract.search.faults import failing, nothing
from tests.contract.search.samples import TENANT, budget, prepared, scope, texts_by_id, unit
from tests.contract.search.writing import NAME, head_of, put, seen


async def test_the_first_document_creates_its_collection(leaves, committer):
    with pytest.raises(CollectionNotFound):
        await head_of(leaves)
    result = await put(committer, "a", metadata={"year": 2024.0})
    head = await head_of(leaves)
    assert (result.outcome, result.generation, result.record.chunk_count) == (Outcome.STORED, 1, 1)
    assert (head.snapshot.generation, head.embedder_fingerprint) == (1, "embedder/1")
    assert head.fields == {"year": FieldType.NUMBER}
    assert await seen(leaves) == {"a": {"word"}}


async def test_the_stored_text_and_record_are_those_of_the_result(leaves, committer):
    result = await committer.put(TENANT, NAME, prepared("a", ["word one", "word two"]), budget=budget())
    head = await head_of(leaves)
    found = await leaves.records.visible(TENANT, head.snapshot, ["a"], budget=budget())
    text = await leaves.records.text(TENANT, head.snapshot.uid, result.record.version, budget=budget())
    assert found == {"a": result.record}
    assert text == "word one\nword two"


async def test_an_equal_document_is_unchanged_and_costs_no_generation(leaves, committer):
    first = await put(committer, "a")
    again = await put(committer, "a")
    assert (again.outcome, again.generation, again.record) == (Outcome.UNCHANGED, 1, first.record)
    assert (await head_of(leaves)).snapshot.high == 1


async def test_a_replacement_hides_the_version_before_in_the_same_instant(leaves, committer):
    old = await put(committer, "a", "word old")
    new = await put(committer, "a", "word new")
    head = await head_of(leaves)
    assert await seen(leaves) == {"a": {"word new"}}
    assert (new.generation, head.snapshot.dead) == (2, frozenset({old.record.version}))


async def test_an_acl_change_is_a_commit(leaves, committer):
    await put(committer, "a", groups=("hr",))
    assert await seen(leaves, groups=("*", "hr")) == {"a": {"word"}}
    result = await put(committer, "a", groups=("law",))
    assert (result.outcome, result.generation) == (Outcome.STORED, 2)
    assert await seen(leaves, groups=("*", "hr")) == {}
    assert await seen(leaves, groups=("*", "law")) == {"a": {"word"}}


async def test_a_deleted_document_is_gone_and_deleting_again_says_so(leaves, committer):
    await put(committer, "a")
    await put(committer, "b")
    assert await committer.delete(TENANT, NAME, "a", budget=budget()) == 3
    assert await seen(leaves) == {"b": {"word"}}
    with pytest.raises(DocumentNotFound):
        await committer.delete(TENANT, NAME, "a", budget=budget())


async def test_a_deleted_document_may_come_back_with_equal_content(leaves, committer):
    await put(committer, "a")
    await committer.delete(TENANT, NAME, "a", budget=budget())
    assert (await put(committer, "a")).outcome is Outcome.STORED
    assert await seen(leaves) == {"a": {"word"}}


async def test_deleting_from_a_collection_that_is_not_there_says_so(committer):
    with pytest.raises(CollectionNotFound):
        await committer.delete(TENANT, NAME, "a", budget=budget())


async def test_concurrent_puts_share_transactions_and_all_are_stored(leaves, committer):
    results = await asyncio.gather(*(put(committer, f"d{n}", f"word {n}") for n in range(100)))
    assert {result.outcome for result in results} == {Outcome.STORED}
    assert await seen(leaves) == {f"d{n}": {f"word {n}"} for n in range(100)}
    assert (await head_of(leaves)).snapshot.generation <= 5


async def test_concurrent_versions_of_one_document_leave_exactly_one(leaves, committer):
    await asyncio.gather(*(put(committer, "a", f"word {n}") for n in range(10)))
    assert await seen(leaves) == {"a": {"word 9"}}


async def test_puts_and_deletes_may_share_a_commit(leaves, committer):
    await asyncio.gather(put(committer, "a"), put(committer, "b"))
    generation = (await head_of(leaves)).snapshot.generation
    await asyncio.gather(put(committer, "c"), put(committer, "d"), committer.delete(TENANT, NAME, "a", budget=budget()))
    assert set(await seen(leaves)) == {"b", "c", "d"}
    assert (await head_of(leaves)).snapshot.generation <= generation + 2


async def test_collections_and_tenants_do_not_see_each_other(leaves, committer):
    await put(committer, "a")
    await committer.put("other", NAME, prepared("a", ["word theirs"]), budget=budget())
    await committer.delete("other", NAME, "a", budget=budget())
    assert await seen(leaves) == {"a": {"word"}}


async def test_a_metadata_conflict_fails_its_document_and_no_other(leaves, committer):
    await put(committer, "first", metadata={"year": 2024.0})
    results = await asyncio.gather(
        put(committer, "good", metadata={"year": 2025.0}),
        put(committer, "bad", metadata={"year": "MMXXV"}),
        put(committer, "fixes", metadata={"new": "text"}),
        put(committer, "late", metadata={"new": True}),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(MetadataConflict) == 2
    assert set(await seen(leaves)) == {"first", "good", "fixes"}


async def test_vectors_of_another_embedder_never_enter_a_collection(leaves, committer):
    await put(committer, "a")
    for fingerprint in ("embedder/2", ""):
        with pytest.raises(EmbedderUnavailable):
            await put(committer, "b", fingerprint=fingerprint)
    assert set(await seen(leaves)) == {"a"}


async def test_a_collection_made_without_an_embedder_is_searched_by_words(leaves, committer):
    await put(committer, "a", fingerprint="")
    await put(committer, "b", fingerprint="embedder/1")
    within = scope((await head_of(leaves)).snapshot)
    assert await leaves.dense.search(unit(1.0), within, 10, budget=budget()) == []
    assert set(texts_by_id(await leaves.lexical.search("word", within, 10, budget=budget()))) == {"a", "b"}


@pytest.mark.parametrize("port", ["dense", "lexical", "records"])
@pytest.mark.parametrize("error", [StorageFull("full"), SearchUnavailable("down"), DeadlineExceeded("late")])
async def test_a_store_that_fails_leaves_readers_as_they_were(leaves, ports, writer, port, error):
    await put(writer, "a", "word old")
    before = await head_of(leaves)
    method = "put" if port == "records" else "write"
    getattr(ports, port).before[method] = [failing(error)]
    with pytest.raises(type(error)):
        await put(writer, "a", "word new")
    after = await head_of(leaves)
    assert await seen(leaves) == {"a": {"word old"}}
    assert (after.snapshot.generation, after.open_numbers) == (before.snapshot.generation, {})
    assert (await put(writer, "a", "word newer")).generation == before.snapshot.generation + 1
    assert await seen(leaves) == {"a": {"word newer"}}


async def test_a_bug_in_a_store_is_logged_with_its_place_and_fails_nothing_else(leaves, ports, writer, caplog):
    await put(writer, "a", "word old")
    ports.lexical.before["write"] = [failing(KeyError("word new"))]
    waiting = [asyncio.create_task(put(writer, name, "word new")) for name in ("a", "b")]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} <= {InternalError, PutResult}
    [line] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "KeyError" in line.error_types
    assert "word new" not in str(vars(line))
    await put(writer, "a", "word newer")
    assert (await seen(leaves))["a"] == {"word newer"}


async def test_a_store_that_lost_chunks_is_noticed_before_the_commit(leaves, ports, writer):
    await put(writer, "a", "word old")

    async def lose():
        newest = (await head_of(leaves)).snapshot
        doomed = range(newest.high << 16, (newest.high + 1) << 16)
        await leaves.dense.purge(TENANT, newest.uid, doomed, budget=budget())

    ports.dense.after["write"] = [lose]
    with pytest.raises(SearchUnavailable):
        await put(writer, "a", "word new")
    assert await seen(leaves) == {"a": {"word old"}}


async def test_losing_a_swap_to_another_process_is_tried_again(leaves, stores, ports, writer):
    await put(writer, "a")
    async with Committer(stores, owner="another process") as other:
        for at in (0, 1):  # once while the number is taken, once while it is committed
            ports.heads.before["swap"] = [nothing] * at + [lambda n=at: put(other, f"other{n}")]
            await put(writer, f"mine{at}")
    assert set(await seen(leaves)) == {"a", "mine0", "mine1", "other0", "other1"}


async def test_a_commit_whose_answer_was_lost_is_still_acknowledged(leaves, ports, writer):
    await put(writer, "a", "word old")
    ports.heads.after["swap"] = [nothing, failing(CatalogueUnavailable("the answer was lost"))]
    result = await put(writer, "a", "word new")
    assert (result.outcome, result.generation) == (Outcome.STORED, 2)
    assert await seen(leaves) == {"a": {"word new"}}


async def test_a_commit_that_never_arrived_is_made_again(leaves, ports, writer):
    await put(writer, "a", "word old")
    ports.heads.before["swap"] = [nothing, failing(CatalogueUnavailable("the request was lost"))]
    result = await put(writer, "a", "word new")
    assert (result.outcome, result.generation) == (Outcome.STORED, 2)
    assert await seen(leaves) == {"a": {"word new"}}


async def test_a_writer_whose_number_was_aborted_starts_again_under_a_new_one(leaves, ports, writer):
    await put(writer, "a", "word old")

    async def abort():
        head = await head_of(leaves)
        await leaves.heads.swap(aborted(head, set(head.open_numbers)), budget=budget())

    ports.lexical.before["seal"] = [abort]
    await put(writer, "a", "word new")
    head = await head_of(leaves)
    assert await seen(leaves) == {"a": {"word new"}}
    assert (head.snapshot.high, head.snapshot.excluded) == (3, ((2, 2),))


async def test_a_put_that_meets_a_drop_lands_in_the_new_collection(leaves, stores, ports, writer):
    await put(writer, "a")
    old = await head_of(leaves)
    async with Committer(stores, owner="another process") as other:
        ports.records.before["put"] = [lambda: other.drop_collection(TENANT, NAME, budget=budget())]
        await put(writer, "b")
    new = await head_of(leaves)
    assert new.snapshot.uid != old.snapshot.uid
    assert await seen(leaves) == {"b": {"word"}}


async def test_a_field_fixed_by_another_process_meanwhile_is_respected(leaves, stores, ports, writer):
    await put(writer, "a")
    async with Committer(stores, owner="another process") as other:
        ports.records.before["put"] = [lambda: put(other, "theirs", metadata={"year": "text"})]
        with pytest.raises(MetadataConflict):
            await put(writer, "mine", metadata={"year": 2024.0})
    assert set(await seen(leaves)) == {"a", "theirs"}
    assert (await head_of(leaves)).open_numbers == {}


async def test_a_collection_whose_first_document_failed_is_not_there_and_fixed_nothing(leaves, ports, writer):
    ports.lexical.before["write"] = [failing(SearchUnavailable("down"))]
    with pytest.raises(SearchUnavailable):
        await put(writer, "a")
    with pytest.raises(CollectionNotFound):
        await head_of(leaves)
    assert await leaves.heads.list(TENANT, after="", limit=10, budget=budget()) == []
    await put(writer, "a", fingerprint="embedder/2")
    assert (await head_of(leaves)).embedder_fingerprint == "embedder/2"
    assert await seen(leaves) == {"a": {"word"}}


async def test_dropping_a_collection_removes_everything_and_its_name_is_free(leaves, committer):
    await put(committer, "a")
    old = await head_of(leaves)
    await committer.drop_collection(TENANT, NAME, budget=budget())
    with pytest.raises(CollectionNotFound):
        await head_of(leaves)
    assert await seen(leaves, head=old) == {}
    assert await leaves.records.visible(TENANT, old.snapshot, ["a"], budget=budget()) == {}
    with pytest.raises(CollectionNotFound):
        await committer.drop_collection(TENANT, NAME, budget=budget())
    await put(committer, "b")
    assert await seen(leaves) == {"b": {"word"}}
