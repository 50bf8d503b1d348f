"""design.md section 2, the table: what is gone, and what the caller gets. One test per row and side of it."""

from __future__ import annotations

import asyncio

import pytest

from chassis.budget import Budget
from chassis.errors import (
    CatalogueUnavailable,
    CollectionNotFound,
    DeadlineExceeded,
    EmbedderUnavailable,
    FilterInvalid,
    ModelCold,
    ModelOverloaded,
    ModelUnavailable,
    RetrieverUnavailable,
    SearchUnavailable,
)
from orchestrator.speaking import MAX_TOKEN_CHARS
from orchestrator.types import (
    CacheStatus,
    Comparison,
    Degradation,
    DegradedReason,
    FinishReason,
    Grounding,
    Operator,
    Sampling,
)
from tests.unit.orchestrator.virtual import now, virtual
from tests.unit.orchestrator.world import SPEAKING, BrokenCache, World, question


def reasons(answer):
    return [lost.reason for lost in answer.completed.degraded]


@virtual
async def test_a_healthy_ask_is_not_degraded(world):
    answer = await world.ask()
    assert answer.text == "The lease lasts 30 seconds [1]."
    assert answer.completed.degraded == ()
    assert answer.completed.grounding is Grounding.SUPPORTED
    assert answer.completed.finish_reason is FinishReason.STOP
    assert not answer.completed.is_partial


@virtual
async def test_an_engine_that_ignores_max_tokens_is_stopped_and_the_answer_cut(world):
    world.generator.pieces = ("word ",) * 100_000
    answer = await world.ask(question(sampling=Sampling(max_tokens=10)))
    assert answer.completed.finish_reason is FinishReason.LENGTH
    assert len(answer.text) <= 10 * MAX_TOKEN_CHARS + len("word ")
    assert world.generator.said < 100
    assert world.generator.stopped_early == 1


@virtual
async def test_a_cache_that_is_down_is_a_miss_and_says_so():
    world = World(cache=BrokenCache())
    answer = await world.ask()
    assert answer.started.cache.status is CacheStatus.MISS
    assert reasons(answer) == [DegradedReason.CACHE_UNAVAILABLE]
    assert answer.text


@virtual
async def test_a_cache_that_is_down_is_asked_once_per_ask():
    cache = BrokenCache()
    await World(cache=cache).ask()
    assert cache.calls == 1


@pytest.mark.parametrize(
    "reason",
    [
        DegradedReason.LEXICAL_UNAVAILABLE,
        DegradedReason.DENSE_UNAVAILABLE,
        DegradedReason.RERANK_SKIPPED,
        DegradedReason.EMBEDDER_UNAVAILABLE,
        DegradedReason.CATALOGUE_UNAVAILABLE,
    ],
)
@virtual
async def test_what_the_retriever_went_without_is_reported_and_never_cached(world, reason):
    world.retriever.degraded = (Degradation("dense", reason, "Fewer passages.", 3.0),)
    answer = await world.ask()
    assert answer.retrieval.degraded == world.retriever.degraded
    assert reasons(answer) == [reason]
    world.retriever.degraded = ()
    assert (await world.ask()).started.cache.status is CacheStatus.MISS


@virtual
async def test_without_our_embedder_the_retriever_embeds(world):
    world.embedder.error = EmbedderUnavailable("down")
    answer = await world.ask()
    assert world.retriever.retrievals == [(None, "")]
    assert answer.completed.degraded == ()


@virtual
async def test_a_retriever_that_is_down_fails_with_a_time_to_retry(world):
    world.retriever.snapshot_error = RetrieverUnavailable("down")
    with pytest.raises(RetrieverUnavailable) as caught:
        await world.ask()
    assert caught.value.retry_after_s
    assert world.generator.started == 0


@pytest.mark.parametrize("hangs", ["snapshot_delay", "retrieve_delay"])
@virtual
async def test_a_retriever_that_hangs_fails_within_300_ms(world, hangs):
    setattr(world.retriever, hangs, 60.0)
    began = now()
    with pytest.raises(RetrieverUnavailable) as caught:
        await world.ask()
    assert now() - began <= 0.300
    assert caught.value.retry_after_s
    assert world.generator.started == 0


@virtual
async def test_both_legs_down_fails_with_a_time_to_retry(world):
    world.retriever.retrieve_error = SearchUnavailable("both legs")
    with pytest.raises(SearchUnavailable) as caught:
        await world.ask()
    assert caught.value.retry_after_s
    assert world.generator.started == 0


@virtual
async def test_while_the_retriever_is_down_an_exact_hit_is_served_and_flagged(world):
    first = await world.ask()
    world.retriever.snapshot_error = RetrieverUnavailable("down")
    answer = await world.ask()
    assert answer.started.cache.status is CacheStatus.HIT_EXACT
    assert answer.text == first.text
    assert reasons(answer) == [DegradedReason.RETRIEVER_UNAVAILABLE]


@virtual
async def test_while_the_retriever_is_down_a_similar_question_is_not_served(world):
    world.embedder.near["How long does a lease last?"] = ("How long does the lease last?", 0.99)
    await world.ask()
    world.retriever.snapshot_error = RetrieverUnavailable("down")
    with pytest.raises(RetrieverUnavailable):
        await world.ask(question("How long does a lease last?"))


@virtual
async def test_an_entry_known_to_be_stale_is_not_served_when_the_retriever_goes_down(world):
    await world.ask()
    world.retriever.snapshot_now = world.retriever.snapshot_now.__class__("uid-1", 8, "retrieval@1", "embedder@1")
    await world.ask(question("What does the purger remove?"))  # this process has seen generation 8
    world.retriever.snapshot_error = RetrieverUnavailable("down")
    with pytest.raises(RetrieverUnavailable):
        await world.ask()


@virtual
async def test_an_unchecked_hit_is_served_for_five_minutes_only(world):
    await world.ask()
    world.retriever.snapshot_error = RetrieverUnavailable("down")
    await asyncio.sleep(299)
    assert (await world.ask()).started.cache.status is CacheStatus.HIT_EXACT
    await asyncio.sleep(2)
    with pytest.raises(RetrieverUnavailable):
        await world.ask()


@virtual
async def test_a_catalogue_that_is_down_leaves_the_cache_alone_and_is_reported(world):
    await world.ask()
    world.retriever.snapshot_error = CatalogueUnavailable("down")
    world.retriever.degraded = (Degradation("catalogue", DegradedReason.CATALOGUE_UNAVAILABLE, "Old.", 1.0),)
    answer = await world.ask()
    assert answer.started.cache.status is CacheStatus.MISS
    assert reasons(answer) == [DegradedReason.CATALOGUE_UNAVAILABLE]
    assert world.generator.started == 2


@virtual
async def test_a_catalogue_that_is_down_for_too_long_is_unavailable(world):
    world.retriever.snapshot_error = CatalogueUnavailable("down")
    world.retriever.retrieve_error = CatalogueUnavailable("too old")
    with pytest.raises(CatalogueUnavailable) as caught:
        await world.ask()
    assert caught.value.retry_after_s


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelCold("loading"), DegradedReason.MODEL_COLD),
        (ModelUnavailable("gone"), DegradedReason.MODEL_UNAVAILABLE),
        (ModelOverloaded("busy"), DegradedReason.MODEL_OVERLOADED),
        (DeadlineExceeded("too slow"), DegradedReason.MODEL_UNAVAILABLE),
    ],
)
@virtual
async def test_a_model_that_fails_before_its_first_word_is_replaced_by_the_sources_own(world, error, reason):
    world.generator.error = error
    answer = await world.ask()
    assert reasons(answer) == [reason]
    assert "The lease lasts 30 seconds" in answer.text
    assert answer.citations
    assert answer.completed.finish_reason is FinishReason.STOP
    assert not answer.completed.is_partial
    assert (await world.ask()).started.cache.status is CacheStatus.MISS


@virtual
async def test_a_model_that_says_nothing_is_replaced(world):
    world.generator.pieces = (" ", "\n")
    answer = await world.ask()
    assert reasons(answer) == [DegradedReason.MODEL_UNAVAILABLE]
    assert "The lease lasts 30 seconds" in answer.text


@virtual
async def test_a_model_without_a_first_word_is_replaced_in_time(world):
    world.generator.gap = 3_600.0
    began = now()
    answer = await world.ask(seconds=5.0)
    assert reasons(answer) == [DegradedReason.MODEL_UNAVAILABLE]
    assert answer.text
    assert now() - began < 5.0 - 0.15
    assert world.generator.stopped_early == 1


@virtual
async def test_a_silent_model_is_replaced_after_the_first_token_limit_however_long_the_deadline(world):
    world.generator.gap = 3_600.0
    began = now()
    answer = await world.ask(seconds=60.0)
    assert reasons(answer) == [DegradedReason.MODEL_UNAVAILABLE]
    assert "The lease lasts 30 seconds" in answer.text
    assert SPEAKING.first_token_s <= now() - began < SPEAKING.first_token_s + 0.1
    assert world.generator.stopped_early == 1


@virtual
async def test_the_first_token_limit_is_off_once_there_was_a_word(world):
    world.generator.gap = SPEAKING.first_token_s / 3
    answer = await world.ask(seconds=60.0)
    assert answer.completed.finish_reason is FinishReason.STOP
    assert reasons(answer) == []


@virtual
async def test_a_model_that_breaks_off_leaves_a_partial_answer(world):
    world.generator.error = ModelUnavailable("gone")
    world.generator.fails_at = 2
    answer = await world.ask()
    assert answer.text == "The lease lasts 30 "
    assert answer.completed.is_partial
    assert answer.completed.finish_reason is FinishReason.ERROR
    assert reasons(answer) == [DegradedReason.MODEL_UNAVAILABLE]
    assert (await world.ask()).started.cache.status is CacheStatus.MISS


@virtual
async def test_a_deadline_before_passages_is_deadline_exceeded(world):
    world.retriever.retrieve_delay = 0.2
    with pytest.raises(DeadlineExceeded):
        await world.ask(seconds=0.18)


@virtual
async def test_a_deadline_during_the_text_stops_150_ms_early_with_what_was_said(world):
    world.generator.gap = 1.0
    began = now()
    answer = await world.ask(seconds=2.5)
    assert 2.3 <= now() - began <= 2.35 + 1e-6
    assert answer.text == "The lease lasts 30"  # the blank may belong to a marker
    assert answer.completed.finish_reason is FinishReason.DEADLINE
    assert answer.completed.is_partial
    assert reasons(answer) == [DegradedReason.DEADLINE_TRIMMED]
    assert world.generator.stopped_early == 1
    world.generator.gap = 0.0
    assert (await world.ask()).started.cache.status is CacheStatus.MISS


@virtual
async def test_nothing_in_the_sources_is_an_answer_that_says_so_and_is_not_cached(world):
    world.generator.pieces = ("The sources do not answer this question.",)
    answer = await world.ask()
    assert answer.completed.grounding is Grounding.NOT_FOUND
    assert answer.completed.finish_reason is FinishReason.NOT_FOUND
    assert answer.completed.degraded == ()
    assert (await world.ask()).started.cache.status is CacheStatus.MISS


@virtual
async def test_without_passages_no_model_is_asked(world):
    world.retriever.sources = ()
    answer = await world.ask()
    assert answer.completed.grounding is Grounding.NOT_FOUND
    assert answer.text
    assert world.generator.started == 0


@virtual
async def test_an_unknown_collection_is_the_callers_error(world):
    world.retriever.snapshot_error = CollectionNotFound("no such collection")
    with pytest.raises(CollectionNotFound):
        await world.ask()


@virtual
async def test_a_filter_the_collection_does_not_know_fails_before_the_first_event(world):
    world.retriever.retrieve_error = FilterInvalid("no such field")
    asked = question(filter=Comparison("colour", Operator.EQ, ("red",)))
    events = world.pipeline.ask(asked, budget=Budget.of(30.0, now))
    with pytest.raises(FilterInvalid):
        await anext(events)


@virtual
async def test_an_answer_cut_by_max_tokens_is_partial_and_not_cached(world):
    world.generator.finish = FinishReason.LENGTH
    answer = await world.ask()
    assert answer.completed.is_partial
    assert (await world.ask()).started.cache.status is CacheStatus.MISS
