"""CollectionHeads, HeadSurvey and Leases: compare-and-swap that never lies."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chassis.errors import Conflict
from retriever.ingest.ledger import new_head
from retriever.types import FieldType, Lease, Snapshot, Staged
from tests.contract.search.samples import TENANT, WHEN, budget


def head(name="c", tenant=TENANT, uid="uid-1"):
    return new_head(tenant, name, uid=uid, embedder_fingerprint="e/1", now=WHEN)


def with_commits(given, generation):
    return replace(given, snapshot=replace(given.snapshot, generation=generation))


async def test_what_is_swapped_in_is_read_back_whole(leaves):
    wanted = replace(
        head(),
        snapshot=Snapshot("uid-1", 7, 12, ((1, 2), (9, 9)), frozenset({65536, 2**40})),
        fields={"team": FieldType.STRING, "since": FieldType.TIME},
        open_numbers={9: "somebody"},
        staged=Staged("uid-2", "a stager", 3),
    )
    stored = await leaves.heads.swap(wanted, budget=budget())
    assert stored == replace(wanted, revision=stored.revision)
    assert stored.revision != 0
    assert await leaves.heads.get(TENANT, "c", budget=budget()) == stored


async def test_there_is_no_head_before_the_first_swap(leaves):
    assert await leaves.heads.get(TENANT, "c", budget=budget()) is None


async def test_creating_what_exists_is_a_conflict(leaves):
    await leaves.heads.swap(head(), budget=budget())
    with pytest.raises(Conflict):
        await leaves.heads.swap(head(uid="uid-2"), budget=budget())


async def test_a_swap_from_an_old_revision_is_a_conflict_and_changes_nothing(leaves):
    old = await leaves.heads.swap(head(), budget=budget())
    new = await leaves.heads.swap(with_commits(old, 1), budget=budget())
    with pytest.raises(Conflict):
        await leaves.heads.swap(with_commits(old, 99), budget=budget())
    assert await leaves.heads.get(TENANT, "c", budget=budget()) == new


async def test_of_many_writers_with_the_same_revision_exactly_one_wins(leaves):
    old = await leaves.heads.swap(head(), budget=budget())
    attempts = [leaves.heads.swap(with_commits(old, n), budget=budget()) for n in range(1, 21)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    winners = [result for result in results if not isinstance(result, Conflict)]
    assert len(winners) == 1
    assert await leaves.heads.get(TENANT, "c", budget=budget()) == winners[0]


async def test_a_revision_never_comes_back_with_a_recreated_collection(leaves):
    stale = await leaves.heads.swap(head(), budget=budget())
    await leaves.heads.remove(stale, budget=budget())
    fresh = await leaves.heads.swap(head(uid="uid-2"), budget=budget())
    with pytest.raises(Conflict):
        await leaves.heads.swap(with_commits(stale, 5), budget=budget())
    assert await leaves.heads.get(TENANT, "c", budget=budget()) == fresh


async def test_removing_needs_the_current_revision(leaves):
    old = await leaves.heads.swap(head(), budget=budget())
    new = await leaves.heads.swap(with_commits(old, 1), budget=budget())
    with pytest.raises(Conflict):
        await leaves.heads.remove(old, budget=budget())
    await leaves.heads.remove(new, budget=budget())
    assert await leaves.heads.get(TENANT, "c", budget=budget()) is None


async def test_list_shows_a_tenants_committed_collections_by_name_in_pages(leaves):
    for name in ["b", "a", "d", "c"]:
        await leaves.heads.swap(with_commits(head(name, uid=name), 1), budget=budget())
    await leaves.heads.swap(head("never-committed", uid="n"), budget=budget())
    await leaves.heads.swap(with_commits(head("x", tenant="other", uid="x"), 1), budget=budget())
    first = await leaves.heads.list(TENANT, after="", limit=3, budget=budget())
    second = await leaves.heads.list(TENANT, after=first[-1].name, limit=3, budget=budget())
    assert [each.name for each in first + second] == ["a", "b", "c", "d"]


async def test_every_shows_all_tenants_heads_in_pages(leaves):
    for tenant, name in [("t2", "a"), ("t1", "b"), ("t1", "a")]:
        await leaves.heads.swap(head(name, tenant=tenant, uid=tenant + name), budget=budget())
    first = await leaves.heads.every(after=("", ""), limit=2, budget=budget())
    second = await leaves.heads.every(after=(first[-1].tenant, first[-1].name), limit=2, budget=budget())
    assert [(each.tenant, each.name) for each in first + second] == [("t1", "a"), ("t1", "b"), ("t2", "a")]


async def test_a_head_is_the_same_after_reopening(open_leaves, tmp_path):
    async with open_leaves(tmp_path / "kept") as first:
        stored = await first.heads.swap(with_commits(head(), 3), budget=budget())
    async with open_leaves(tmp_path / "kept") as second:
        assert await second.heads.get(TENANT, "c", budget=budget()) == stored


async def test_a_lease_is_swapped_like_a_head(leaves):
    assert await leaves.leases.get("janitor", budget=budget()) is None
    first = await leaves.leases.swap(Lease("janitor", "me"), budget=budget())
    second = await leaves.leases.swap(replace(first, beats=1), budget=budget())
    assert await leaves.leases.get("janitor", budget=budget()) == second
    for stale in (first, Lease("janitor", "you")):
        with pytest.raises(Conflict):
            await leaves.leases.swap(stale, budget=budget())
