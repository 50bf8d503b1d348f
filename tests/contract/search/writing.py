"""What the suites of the write protocol do again and again: put, and look."""

from __future__ import annotations

from retriever.ingest.snapshots import SnapshotReader
from tests.contract.search.samples import TENANT, budget, prepared, scope, texts_by_id, unit

NAME = "handbook"


async def head_of(leaves):
    return (await SnapshotReader(leaves.heads, timebox_s=30).head(TENANT, NAME, budget=budget())).head


async def seen(leaves, *, head=None, groups=("*",)):
    """What both legs show now, document by document; they must agree."""
    within = scope((head or await head_of(leaves)).snapshot, groups=groups)
    dense = texts_by_id(await leaves.dense.search(unit(1.0), within, 10_000, budget=budget()))
    lexical = texts_by_id(await leaves.lexical.search("word", within, 10_000, budget=budget()))
    assert dense == lexical
    return lexical


async def put(writer, document_id, text="word", **changes):
    return await writer.put(TENANT, NAME, prepared(document_id, [text], **changes), budget=budget())
