"""What every AnswerCache must do. An adapter's suite derives from this, gives a `subject` and names its exceptions.

`subject` has .cache (empty, holding at least 50 entries), .ttl_s, and `await .pass_time(seconds)`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from chassis.budget import Budget
from orchestrator.types import (
    AnswerCompleted,
    CachedAnswer,
    CacheKey,
    Citation,
    Cost,
    FinishReason,
    Grounding,
    RetrievalCompleted,
    Snapshot,
    Source,
    Timings,
    Usage,
)

DIM = 384
KEY = CacheKey("p" * 64, "q" * 64)


def budget():
    return Budget.of(5.0)


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def answer(answer_id="a-1", *, tenant="acme", collection="docs", vector=(), text="Thirty seconds [1]."):
    source = Source(
        1, "7.1", "guide.md", "Guide \u2603", "u", "docs", "A > B", 2, 10, 40, "x" * 30, 0.5, 1, 2, 0.7, 3.0
    )
    citation = Citation(1, "guide.md", "Guide", "u", "docs", "A > B", 2, "7.1", "x" * 30, 10, 40)
    return CachedAnswer(
        tenant=tenant,
        collection=collection,
        answer_id=answer_id,
        question_text="how long?",
        snapshot=Snapshot("uid", 7, "r@1", "e@1"),
        model="gemma",
        retrieval=RetrievalCompleted((source,), (), 12.5, "uid", 7),
        text=text,
        citations=(citation,),
        completed=AnswerCompleted(
            FinishReason.STOP,
            Usage(100, 10, 0, True),
            Timings(total_ms=5.0, first_token_ms=2.0),
            Cost(amount=0.001),
            Grounding.SUPPORTED,
            (1,),
            (),
            False,
        ),
        created_at_s=1_800_000_000.25,
        vector=vector,
    )


def bare(entry):
    return replace(entry, vector=())


class AnswerCacheSuite:
    async def test_an_empty_cache_finds_nothing(self, subject):
        assert await subject.cache.get(KEY, budget=budget()) is None
        assert await subject.cache.similar(KEY, unit(1), 5, budget=budget()) == []

    async def test_what_is_put_comes_back_as_it_was(self, subject):
        await subject.cache.put(KEY, answer(vector=unit(1)), budget=budget())
        found = await subject.cache.get(KEY, budget=budget())
        assert found is not None
        assert bare(found) == bare(answer())

    async def test_a_second_put_replaces_the_first_in_both_tiers(self, subject):
        await subject.cache.put(KEY, answer("a-1", vector=unit(1)), budget=budget())
        await subject.cache.put(KEY, answer("a-2", vector=unit(2)), budget=budget())
        found = await subject.cache.get(KEY, budget=budget())
        assert found.answer_id == "a-2"
        near = await subject.cache.similar(KEY, unit(1), 5, budget=budget())
        assert [candidate.answer.answer_id for candidate in near] == ["a-2"]
        assert not await subject.cache.evict("acme", "docs", "a-1", budget=budget())

    async def test_similar_is_by_cosine_best_first(self, subject):
        base = unit(0)
        for number in range(10):
            mixed = base + 0.1 * number * unit(100 + number)
            vector = mixed / np.linalg.norm(mixed)
            key = CacheKey(KEY.partition, f"q{number}")
            await subject.cache.put(key, answer(f"a-{number}", vector=vector), budget=budget())
        found = await subject.cache.similar(KEY, base, 4, budget=budget())
        assert len(found) == 4
        assert found[0].answer.answer_id == "a-0"
        assert found[0].similarity == pytest.approx(1.0, abs=1e-3)
        cosines = [candidate.similarity for candidate in found]
        assert cosines == sorted(cosines, reverse=True)

    async def test_another_partition_is_never_seen(self, subject):
        await subject.cache.put(KEY, answer(vector=unit(1)), budget=budget())
        other = CacheKey("o" * 64, KEY.question)
        assert await subject.cache.get(other, budget=budget()) is None
        assert await subject.cache.similar(other, unit(1), 5, budget=budget()) == []

    async def test_another_question_of_the_partition_is_no_exact_hit(self, subject):
        await subject.cache.put(KEY, answer(), budget=budget())
        assert await subject.cache.get(CacheKey(KEY.partition, "z" * 64), budget=budget()) is None

    async def test_an_entry_without_a_vector_is_found_exactly_only(self, subject):
        await subject.cache.put(KEY, answer(), budget=budget())
        assert await subject.cache.get(KEY, budget=budget()) is not None
        assert await subject.cache.similar(KEY, unit(1), 5, budget=budget()) == []

    async def test_entries_end_with_their_time_in_both_tiers(self, subject):
        await subject.cache.put(KEY, answer(vector=unit(1)), budget=budget())
        await subject.pass_time(subject.ttl_s + 1)
        assert await subject.cache.get(KEY, budget=budget()) is None
        assert await subject.cache.similar(KEY, unit(1), 5, budget=budget()) == []
        assert not await subject.cache.evict("acme", "docs", "a-1", budget=budget())

    async def test_evict_removes_from_both_tiers_once(self, subject):
        await subject.cache.put(KEY, answer(vector=unit(1)), budget=budget())
        assert await subject.cache.evict("acme", "docs", "a-1", budget=budget())
        assert await subject.cache.get(KEY, budget=budget()) is None
        assert await subject.cache.similar(KEY, unit(1), 5, budget=budget()) == []
        assert not await subject.cache.evict("acme", "docs", "a-1", budget=budget())

    @pytest.mark.parametrize(("tenant", "collection"), [("other", "docs"), ("acme", "other")])
    async def test_evict_stays_within_tenant_and_collection(self, subject, tenant, collection):
        await subject.cache.put(KEY, answer(), budget=budget())
        assert not await subject.cache.evict(tenant, collection, "a-1", budget=budget())
        assert await subject.cache.get(KEY, budget=budget()) is not None

    async def test_many_at_once_lose_nothing(self, subject):
        keys = [CacheKey(KEY.partition, f"q{number}") for number in range(50)]
        async with asyncio.TaskGroup() as group:
            for number, key in enumerate(keys):
                group.create_task(subject.cache.put(key, answer(f"a-{number}", vector=unit(number)), budget=budget()))
        found = [await subject.cache.get(key, budget=budget()) for key in keys]
        assert [entry.answer_id for entry in found] == [f"a-{number}" for number in range(50)]
