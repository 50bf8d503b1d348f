"""DocumentRecords: versions and their texts, seen by snapshot."""

from __future__ import annotations

import pytest

from chassis.errors import DocumentNotFound
from retriever.types import Comparison, Operator, Snapshot, version_of
from tests.contract.search.samples import TENANT, WHEN, budget, record, scope

UID = "uid-1"


def snapshot(high, *, excluded=(), dead=()):
    return Snapshot(UID, generation=1, high=high, excluded=excluded, dead=frozenset(dead))


@pytest.fixture
async def records(leaves):
    """Document "a" in three versions (the second aborted), "b" and "c" in one."""
    metadata = {"since": WHEN, "year": 2024.0, "open": False, "team": ""}
    rows = [
        (record("a", version_of(1, 0), title="first"), "text of a, first"),
        (record("b", version_of(1, 1), metadata=metadata, groups=("hr",)), "text of b"),
        (record("a", version_of(2, 0), title="aborted"), "never seen"),
        (record("a", version_of(3, 0), title="third", chunk_count=4), "text of a, third \U0001f600"),
        (record("c", version_of(4, 0), source="s", chunk_count=2), ""),
    ]
    await leaves.records.put(TENANT, UID, rows, budget=budget())
    return leaves.records


LATEST = snapshot(4, excluded=((2, 2),), dead={version_of(1, 0)})


async def test_visible_is_the_one_version_the_snapshot_sees(records):
    ids = ["a", "b", "missing"]
    before = await records.visible(TENANT, snapshot(2, excluded=((2, 2),)), ids, budget=budget())
    after = await records.visible(TENANT, LATEST, ids, budget=budget())
    assert {name: each.title for name, each in before.items()} == {"a": "first", "b": ""}
    assert {name: each.title for name, each in after.items()} == {"a": "third", "b": ""}


async def test_a_record_comes_back_as_it_was_put(records):
    found = await records.visible(TENANT, LATEST, ["b"], budget=budget())
    expected = {"since": WHEN, "year": 2024.0, "open": False, "team": ""}
    assert found["b"] == record("b", version_of(1, 1), metadata=expected, groups=("hr",))
    assert [type(found["b"].metadata[name]) for name in ("year", "open")] == [float, bool]


async def test_another_tenant_sees_no_record_and_no_text(records):
    assert await records.visible("other", LATEST, ["a", "b"], budget=budget()) == {}
    with pytest.raises(DocumentNotFound):
        await records.text("other", UID, version_of(3, 0), budget=budget())


async def test_pages_hold_what_the_reader_may_see_by_id_with_the_total(records):
    mine = scope(LATEST, groups=("*", "hr"))
    first, total = await records.page(mine, after="", limit=2, budget=budget())
    second, _ = await records.page(mine, after=first[-1].document_id, limit=2, budget=budget())
    assert [each.document_id for each in first + second] == ["a", "b", "c"]
    assert total == 3
    everybodys, total = await records.page(scope(LATEST), after="", limit=10, budget=budget())
    assert [each.document_id for each in everybodys] == ["a", "c"]
    assert total == 2


async def test_pages_may_be_filtered(records):
    wanted = Comparison("source", Operator.EQ, ("s",))
    found, total = await records.page(scope(LATEST, filter=wanted), after="", limit=10, budget=budget())
    assert ([each.document_id for each in found], total) == (["c"], 1)


async def test_count_adds_up_documents_and_chunks_in_scope(records):
    assert await records.count(scope(LATEST, groups=("*", "hr")), budget=budget()) == (3, 7)
    assert await records.count(scope(LATEST), budget=budget()) == (2, 6)
    assert await records.count(scope(snapshot(0)), budget=budget()) == (0, 0)


async def test_texts_are_read_by_version(records):
    assert await records.text(TENANT, UID, version_of(3, 0), budget=budget()) == "text of a, third \U0001f600"
    assert await records.text(TENANT, UID, version_of(4, 0), budget=budget()) == ""
    with pytest.raises(DocumentNotFound):
        await records.text(TENANT, UID, version_of(9, 0), budget=budget())


async def test_a_long_text_comes_back_whole(leaves):
    text = "a long text \U0001f600\n" * 200_000  # 3 MB
    document = record("long", version_of(1, 0))
    await leaves.records.put(TENANT, UID, [(document, text)], budget=budget())
    assert await leaves.records.text(TENANT, UID, version_of(1, 0), budget=budget()) == text


async def test_purge_removes_versions_and_nothing_else(records):
    await records.purge(TENANT, UID, [version_of(1, 0)], budget=budget())
    everything = snapshot(4)
    assert sorted(await records.visible(TENANT, everything, ["a", "b", "c"], budget=budget())) == ["a", "b", "c"]
    with pytest.raises(DocumentNotFound):
        await records.text(TENANT, UID, version_of(1, 0), budget=budget())


async def test_purge_of_a_range_removes_an_aborted_transaction(records):
    await records.purge(TENANT, UID, range(version_of(1, 0), version_of(4, 0)), budget=budget())
    assert sorted(await records.visible(TENANT, snapshot(4), ["a", "b", "c"], budget=budget())) == ["c"]


async def test_purge_of_nothing_in_particular_removes_the_whole_uid(records):
    await records.put(TENANT, "uid-2", [(record("z", version_of(1, 0)), "kept")], budget=budget())
    await records.purge(TENANT, UID, (), budget=budget())
    assert await records.visible(TENANT, snapshot(4), ["a", "b", "c"], budget=budget()) == {}
    assert await records.text(TENANT, "uid-2", version_of(1, 0), budget=budget()) == "kept"
