"""The cache as an asker sees it: never wrong, never stale, never another tenant's (design.md section 3.2)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chassis.breaker import Breaker
from chassis.budget import Budget
from chassis.errors import AnswerNotFound, CacheUnavailable
from chassis.identity import LOCAL, Identity
from orchestrator.cache.guarded import GuardedCache
from orchestrator.cache.memory import MemoryAnswerCache
from orchestrator.types import (
    And,
    CachePolicy,
    CacheStatus,
    Comparison,
    Operator,
    Sampling,
)
from tests.unit.orchestrator.virtual import now, virtual
from tests.unit.orchestrator.world import World, question, source

PARAPHRASE = "How long does a lease last, please?"


async def status_of(world, asked):
    return (await world.ask(asked)).started.cache.status


@virtual
async def test_the_second_ask_is_an_exact_hit_that_costs_nothing(world):
    made = await world.ask()
    world.wall += 42
    hit = await world.ask()
    assert hit.started.cache.status is CacheStatus.HIT_EXACT
    assert hit.started.cache.similarity == 1.0
    assert hit.started.cache.origin_answer_id == made.started.answer_id
    assert hit.started.cache.age_s == pytest.approx(42)
    assert hit.started.answer_id != made.started.answer_id
    assert hit.completed.usage.saved_tokens == 110
    assert hit.completed.usage.completion_tokens == 0
    assert hit.completed.cost.amount == 0.0
    assert hit.completed.cost.saved == made.completed.cost.amount
    assert hit.retrieval.milliseconds == 0.0
    assert world.generator.started == 1
    assert len(world.retriever.retrievals) == 1


@virtual
async def test_a_hit_has_the_same_text_citations_and_grounding(world):
    made, hit = await world.ask(), await world.ask()
    assert hit.text == made.text
    assert hit.citations == made.citations
    assert hit.retrieval.sources == made.retrieval.sources
    assert hit.completed.cited_markers == made.completed.cited_markers
    assert hit.completed.grounding == made.completed.grounding


@virtual
async def test_an_exact_hit_does_not_embed(world):
    await world.ask()
    await world.ask()
    assert len(world.embedder.embedded) == 1


@virtual
async def test_white_space_and_composition_do_not_count_but_case_does(world):
    await world.ask(question("Is the café  open?"))
    assert await status_of(world, question(" Is the cafe\u0301 open? ")) is CacheStatus.HIT_EXACT
    assert await status_of(world, question("Is the Café open?")) is not CacheStatus.HIT_EXACT


@virtual
async def test_a_commit_makes_every_entry_stale_at_once(world):
    await world.ask()
    world.retriever.snapshot_now = replace(world.retriever.snapshot_now, generation=8)
    world.retriever.sources = (source(text="The lease lasts 45 seconds."),)
    world.generator.pieces = ("The lease lasts 45 seconds [1].",)
    answer = await world.ask()
    assert answer.started.cache.status is CacheStatus.MISS
    assert "45" in answer.text


@virtual
async def test_an_answer_made_while_a_commit_passed_is_stored_under_what_was_read(world):
    world.retriever.retrieve_delay = 0.05
    under_way = asyncio.create_task(world.ask())
    await asyncio.sleep(0.01)
    world.retriever.snapshot_now = replace(world.retriever.snapshot_now, generation=8)
    assert (await under_way).retrieval.generation == 8
    assert await status_of(world, question()) is CacheStatus.HIT_EXACT


@virtual
async def test_a_recreated_collection_shares_nothing_with_the_old_one(world):
    await world.ask()
    world.retriever.snapshot_now = replace(world.retriever.snapshot_now, collection_uid="uid-2")
    assert await status_of(world, question()) is CacheStatus.MISS


@virtual
@pytest.mark.parametrize(
    "changes",
    [
        {"identity": Identity("other", roles=LOCAL.roles)},
        {"identity": Identity("local", groups=frozenset({"hr"}), roles=LOCAL.roles)},
        {"top_k": 6},
        {"filter": And((Comparison("source", Operator.EQ, ("docs",)),))},
        {"sampling": Sampling(temperature=0.3)},
        {"sampling": Sampling(seed=1)},
        {"sampling": Sampling(max_tokens=100)},
    ],
)
async def test_whatever_changes_the_answer_is_another_entry_in_both_tiers(world, changes):
    world.embedder.near[PARAPHRASE] = ("How long does the lease last?", 0.99)
    await world.ask()
    assert await status_of(world, question(**changes)) is CacheStatus.MISS
    assert await status_of(world, question(PARAPHRASE, **changes)) is not CacheStatus.HIT_EXACT
    assert world.generator.started >= 2


@virtual
@pytest.mark.parametrize("part", ["generator", "prompt", "embedder", "guard", "redaction"])
async def test_a_new_release_of_any_part_shares_nothing_with_the_old_one(world, part):
    await world.ask()
    world.restarted(**{part: "2"})
    assert await status_of(world, question()) is CacheStatus.MISS


@virtual
async def test_a_paraphrase_over_the_threshold_and_past_the_guard_is_a_semantic_hit(world):
    world.embedder.near[PARAPHRASE] = ("How long does the lease last?", 0.93)
    made = await world.ask()
    hit = await world.ask(question(PARAPHRASE))
    assert hit.started.cache.status is CacheStatus.HIT_SEMANTIC
    assert hit.started.cache.similarity == pytest.approx(0.93, abs=1e-3)
    assert hit.text == made.text
    assert world.generator.started == 1


@virtual
async def test_a_paraphrase_under_the_threshold_is_a_miss(world):
    world.embedder.near[PARAPHRASE] = ("How long does the lease last?", 0.89)
    await world.ask()
    assert await status_of(world, question(PARAPHRASE)) is CacheStatus.MISS


@virtual
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I enable 2FA?", "How do I disable 2FA?"),
        ("What was the revenue in 2023?", "What was the revenue in 2024?"),
    ],
)
async def test_near_vectors_of_other_questions_never_hit(world, first, second):
    world.embedder.near[second] = (first, 0.999)
    await world.ask(question(first))
    assert await status_of(world, question(second)) is CacheStatus.MISS


@virtual
async def test_another_tenants_identical_vector_never_hits(world):
    world.embedder.near[PARAPHRASE] = ("How long does the lease last?", 1.0)
    await world.ask()
    other = question(PARAPHRASE, identity=Identity("other", roles=LOCAL.roles))
    assert await status_of(world, other) is CacheStatus.MISS


@virtual
async def test_a_stale_entry_is_no_semantic_hit(world):
    world.embedder.near[PARAPHRASE] = ("How long does the lease last?", 0.99)
    await world.ask()
    world.retriever.snapshot_now = replace(world.retriever.snapshot_now, generation=8)
    assert await status_of(world, question(PARAPHRASE)) is CacheStatus.MISS


@virtual
async def test_bypass_neither_reads_nor_writes(world):
    bypass = question(cache_policy=CachePolicy.BYPASS)
    assert await status_of(world, bypass) is CacheStatus.SKIPPED
    assert await status_of(world, question()) is CacheStatus.MISS
    assert await status_of(world, bypass) is CacheStatus.SKIPPED


@virtual
async def test_refresh_does_not_read_but_replaces(world):
    await world.ask()
    world.generator.pieces = ("It lasts 30 seconds [1].",)
    assert await status_of(world, question(cache_policy=CachePolicy.REFRESH)) is CacheStatus.SKIPPED
    assert (await world.ask()).text == "It lasts 30 seconds [1]."


@virtual
async def test_a_redacted_question_is_neither_looked_up_nor_stored(world):
    text = "Who is [redacted]?"
    assert await status_of(world, question(text, redacted=True)) is CacheStatus.SKIPPED
    assert await status_of(world, question(text)) is CacheStatus.MISS
    assert await status_of(world, question(text, redacted=True)) is CacheStatus.SKIPPED


@virtual
async def test_entries_end_with_their_time(world):
    await world.ask()
    await asyncio.sleep(601)
    assert await status_of(world, question()) is CacheStatus.MISS


@virtual
async def test_an_evicted_answer_is_made_afresh(world):
    made = await world.ask()
    await world.pipeline.evict("local", "docs", made.started.answer_id, budget=Budget.of(1, now))
    assert await status_of(world, question()) is CacheStatus.MISS


@virtual
@pytest.mark.parametrize(("tenant", "collection"), [("other", "docs"), ("local", "others")])
async def test_another_tenants_or_collections_answer_cannot_be_evicted(world, tenant, collection):
    made = await world.ask()
    with pytest.raises(AnswerNotFound):
        await world.pipeline.evict(tenant, collection, made.started.answer_id, budget=Budget.of(1, now))
    assert await status_of(world, question()) is CacheStatus.HIT_EXACT


@virtual
async def test_without_a_cache_every_ask_is_made_and_eviction_finds_nothing():
    world = World(cache=None)
    await world.ask()
    assert await status_of(world, question()) is CacheStatus.SKIPPED
    with pytest.raises(AnswerNotFound):
        await world.pipeline.evict("local", "docs", "answer-1", budget=Budget.of(1, now))


@virtual
async def test_a_cache_that_hangs_costs_50_ms_and_is_a_miss():
    class Hanging(MemoryAnswerCache):
        async def get(self, key, *, budget):
            await asyncio.sleep(3_600)

    slow = World(cache=GuardedCache(Hanging(), Breaker("cache", now, error=CacheUnavailable)))
    began = now()
    assert await status_of(slow, question()) is CacheStatus.MISS
    assert now() - began <= 0.060
