"""ChunkReader and RecordSurvey: what is stored comes back whole, whoever may read it."""

from __future__ import annotations

import numpy as np
import pytest

from retriever.types import version_of
from tests.contract.search.samples import TENANT, budget, chunk, prepared, random_unit, record, written

UID = "uid-1"
MANY = range(1_000)


def long_document(document_id, number, count):
    """Chunks with everything a chunk can have."""
    version = version_of(number, 0)
    chunks = [
        chunk(
            version,
            at,
            f"Wörter {at} 😀",
            embed_text=f"Title > {at}\nWörter {at} 😀" if at % 2 else "not a heading before the text",
            section=f"Section {at}",
            page=at + 1,
            start_char=at * 100,
            end_char=at * 100 + 10,
        )
        for at in range(count)
    ]
    return record(document_id, version, chunk_count=count, groups=("board",)), chunks


async def store(leaves, documents, vectors):
    for each in (leaves.dense, leaves.lexical):
        await each.write(TENANT, UID, documents, vectors, budget=budget())
        for number in {documents_of[0].version >> 16 for documents_of in documents}:
            await each.seal(TENANT, UID, number, budget=budget())


@pytest.mark.parametrize("leg", ["dense", "lexical"])
async def test_chunks_come_back_as_they_were_written_in_order(leaves, leg):
    document = long_document("a", 1, 7)
    vectors = random_unit(1, 7)
    await store(leaves, [document], vectors)
    reader = getattr(leaves, leg)
    chunks, found = await reader.read(TENANT, UID, [version_of(1, 0)], MANY, budget=budget())
    assert chunks == list(document[1])
    if leg == "dense":
        np.testing.assert_allclose(found, vectors, atol=1e-6)
    else:
        assert found is None


@pytest.mark.parametrize("leg", ["dense", "lexical"])
async def test_only_the_versions_and_positions_asked_for_are_read(leaves, leg):
    documents = [long_document(name, number, 5) for number, name in enumerate("abc", start=1)]
    vectors = random_unit(2, 15)
    await store(leaves, documents, vectors)
    wanted = [version_of(3, 0), version_of(1, 0)]
    chunks, found = await getattr(leaves, leg).read(TENANT, UID, wanted, range(1, 3), budget=budget())
    assert [(each.version, each.position) for each in chunks] == [
        (version_of(1, 0), 1),
        (version_of(1, 0), 2),
        (version_of(3, 0), 1),
        (version_of(3, 0), 2),
    ]
    if found is not None:
        np.testing.assert_allclose(found, vectors[[1, 2, 11, 12]], atol=1e-6)


@pytest.mark.parametrize("leg", ["dense", "lexical"])
async def test_nothing_is_read_of_another_collection_or_tenant(leaves, leg):
    await store(leaves, [written("a", 1, 0, ["word"])], random_unit(3, 1))
    reader = getattr(leaves, leg)
    for tenant, uid in (("rival", UID), (TENANT, "uid-2")):
        chunks, _ = await reader.read(tenant, uid, [version_of(1, 0)], MANY, budget=budget())
        assert chunks == []


async def test_every_visible_document_is_surveyed_whatever_its_groups(leaves, committer):
    for name, groups in (("b", ("board",)), ("a", ("*",)), ("ä", ("staff",)), ("a/z", ("*",))):
        await committer.put(TENANT, "c", prepared(name, ["word"], groups=groups), budget=budget())
    await committer.put(TENANT, "c", prepared("b", ["new word"], groups=("board",)), budget=budget())
    await committer.delete(TENANT, "c", "a", budget=budget())
    head = await leaves.heads.get(TENANT, "c", budget=budget())
    first, total = await leaves.records.all(TENANT, head.snapshot, after="", limit=2, budget=budget())
    rest, _ = await leaves.records.all(TENANT, head.snapshot, after="b", limit=2, budget=budget())
    assert [each.document_id for each in first + rest] == ["a/z", "b", "ä"]
    assert total == 3
