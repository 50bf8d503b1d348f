"""Reindexes to test: how they are run, and what a reader sees meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from retriever.upkeep.reindexing import Reindexer
from retriever.upkeep.repair import Repairer
from retriever.upkeep.verify import Verifier
from tests.contract.search.samples import TENANT, budget, scope, texts_by_id, unit
from tests.contract.search.upkeeping import FIRST, SECOND, WALL, document, last_of, recipe, upkeep_stores

NAME = "handbook"
KEEP = timedelta(days=7)
WHOLE = {"a": {"The first word.", "The second word."}, "b": {"Another word."}}


def reindexer_over(leaves, owner="operator", recipes=recipe, **changes):
    stores = replace(upkeep_stores(leaves), **changes)
    return Reindexer(stores, recipes, owner=owner, now=lambda: WALL)


async def put(committer, name, text, fingerprint=FIRST, **changes):
    prepared = await document(name, text, fingerprint=fingerprint, **changes)
    return await committer.put(TENANT, NAME, prepared, budget=budget(60))


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


async def is_sound(leaves):
    stores = upkeep_stores(leaves)
    verifier = Verifier(stores, Repairer(stores, recipe, owner="operator", now=lambda: WALL))
    report = await last_of(verifier.verify(TENANT, NAME, repair=False, budget=budget(60)))
    return report.findings == ()
