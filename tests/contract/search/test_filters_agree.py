"""Every store means by a filter what the oracle, retriever.filters.matches, means by it."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings

from retriever.filters import matches, validate
from retriever.types import And, Comparison, Operator, Or, Snapshot, version_of
from tests.contract.search.conftest import ADAPTERS
from tests.contract.search.samples import TENANT, budget, chunk, record, scope, unit, vectors_of
from tests.contract.search.trees import BUILTIN_VALUES, FIELDS, VALUES, filters

UID = "uid-1"
EVERYTHING_SEEN = Snapshot(UID, generation=1, high=1)


def library():
    """Sixty documents of three chunks with values, missing values and empty ones, by a fixed seed."""
    chance = random.Random(7)
    documents = []
    for ordinal in range(60):
        version = version_of(1, ordinal)
        metadata = {name: chance.choice(VALUES[kind]) for name, kind in FIELDS.items() if chance.random() < 0.6}
        built_in = {name: chance.choice(BUILTIN_VALUES[name]) for name in ("title", "uri", "source", "content_type")}
        chunks = [
            chunk(
                version,
                at,
                "word",
                section=chance.choice(BUILTIN_VALUES["section"]),
                page=chance.randrange(4),
            )
            for at in range(3)
        ]
        documents.append((record(f"d{ordinal}", version, metadata=metadata, **built_in), chunks))
    return documents


@pytest.fixture(scope="module", params=sorted(ADAPTERS))
def shelf(request, tmp_path_factory):
    """The library in one set of leaves, and a runner to ask it from hypothesis' plain functions."""
    documents = library()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def fill():
            leaves = await stack.enter_async_context(ADAPTERS[request.param](tmp_path_factory.mktemp("shelf")))
            for store in (leaves.dense, leaves.lexical):
                await store.write(TENANT, UID, documents, vectors_of(documents), budget=budget())
                await store.seal(TENANT, UID, 1, budget=budget())
            await leaves.records.put(TENANT, UID, [(each, "") for each, _ in documents], budget=budget())
            return leaves

        yield runner, runner.run(fill()), documents
        runner.run(stack.aclose())


@settings(max_examples=500)
@given(filter=filters())
def test_both_legs_find_exactly_the_chunks_the_oracle_matches(shelf, filter):
    runner, leaves, documents = shelf
    validate(filter, FIELDS)
    expected = {
        piece.chunk_id
        for document, chunks in documents
        for piece in chunks
        if matches(filter, document, piece.section, piece.page)
    }

    async def search():
        within = scope(EVERYTHING_SEEN, filter=filter)
        dense = await leaves.dense.search(unit(1.0), within, 1_000, budget=budget())
        lexical = await leaves.lexical.search("word", within, 1_000, budget=budget())
        return dense, lexical

    dense, lexical = runner.run(search())
    assert {hit.chunk.chunk_id for hit in dense} == expected
    assert {hit.chunk.chunk_id for hit in lexical} == expected


@settings(max_examples=250)
@given(filter=filters(chunk_fields=False))
def test_the_catalogue_lists_exactly_the_documents_the_oracle_matches(shelf, filter):
    runner, leaves, documents = shelf
    expected = sorted(document.document_id for document, _ in documents if matches(filter, document, "", 0))

    async def listing():
        return await leaves.records.page(scope(EVERYTHING_SEEN, filter=filter), after="", limit=1_000, budget=budget())

    found, total = runner.run(listing())
    assert [each.document_id for each in found] == expected
    assert total == len(expected)


def test_the_largest_allowed_filter_is_answered(shelf):
    """64 nodes, 256 values in each IN: within every limit of the engine."""
    runner, leaves, documents = shelf
    values = (*(f"value {n}" for n in range(255)), "a")
    widest = Or(tuple(Comparison("team", Operator.IN, values) for _ in range(63)))
    deepest = And((And((And((And((And((And((And((widest.parts[0],)),)),)),)),)),)),))
    expected = {document.document_id for document, _ in documents if document.metadata.get("team") == "a"}
    for tree in (widest, deepest):
        validate(tree, FIELDS)
        within = scope(EVERYTHING_SEEN, filter=tree)
        for leg, query in ((leaves.lexical, "word"), (leaves.dense, unit(1.0))):
            hits = runner.run(leg.search(query, within, 1_000, budget=budget()))
            assert {hit.document.document_id for hit in hits} == expected
