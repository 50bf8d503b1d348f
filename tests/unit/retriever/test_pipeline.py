"""How a query becomes passages, and what is left when something is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from chassis.errors import (
    BackendUnavailable,
    CatalogueUnavailable,
    CollectionNotFound,
    DeadlineExceeded,
    EmbedderUnavailable,
    FilterInvalid,
    GenerationNotReached,
    InvalidRequest,
    SearchUnavailable,
)
from chassis.identity import Identity
from retriever.types import Comparison, DegradedReason, Legs, Operator, QueryVector, version_of
from tests.unit.retriever.pipeline_fakes import (
    DIM,
    FINGERPRINT,
    Bench,
    FakeEmbedder,
    FakeLeg,
    make_head,
    make_hit,
    unit_vector,
)

HANG_TIMEBOX_S = 0.02  # real: how long a test waits for a leg that never answers


@pytest.fixture
async def bench():
    return Bench()


def ids(retrieval):
    return [passage.document.document_id for passage in retrieval.passages]


def reasons(retrieval):
    return [(each.stage, each.reason) for each in retrieval.degraded]


def own_vector(**changes):
    return replace(QueryVector(FINGERPRINT, tuple(unit_vector().tolist())), **changes)


class TestBothLegs:
    async def test_passages_of_both_legs_are_fused_and_carry_each_legs_rank_and_score(self, bench):
        retrieval = await bench.retrieve()
        found = {passage.document.document_id: passage for passage in retrieval.passages}
        assert set(found) == {"a", "b", "c"}
        assert (found["b"].dense.rank, found["b"].dense.score) == (2, pytest.approx(0.8))
        assert (found["b"].lexical.rank, found["b"].lexical.score) == (1, pytest.approx(11.0))
        assert found["a"].lexical is None
        assert found["c"].dense is None
        assert retrieval.degraded == ()

    async def test_the_legs_run_at_once(self, bench):
        bench.dense.ready, bench.lexical.ready = bench.lexical.begun, bench.dense.begun  # each waits for the other
        assert (await bench.retrieve()).degraded == ()

    async def test_the_lexical_leg_does_not_wait_for_the_embedding(self, bench):
        bench.embedder.ready = bench.lexical.begun
        assert (await bench.retrieve()).degraded == ()

    async def test_the_embedding_does_not_wait_for_the_snapshot(self, bench):
        bench.heads.get = _after(bench.embedder, bench.heads.get)
        assert (await bench.retrieve()).degraded == ()

    async def test_no_more_than_top_k_come_back_best_first(self, bench):
        retrieval = await bench.retrieve(top_k=2)
        assert len(retrieval.passages) == 2
        assert retrieval.passages[0].score >= retrieval.passages[1].score

    async def test_a_chunk_comes_back_once(self, bench):
        bench.dense.hits = [make_hit("a", score=0.9), make_hit("a", score=0.9)]
        bench.lexical.hits = [make_hit("a", score=3.0)]
        assert ids(await bench.retrieve()) == ["a"]

    async def test_every_stage_is_timed(self, bench):
        retrieval = await bench.retrieve()
        assert {"snapshot", "embed", "dense", "lexical", "fuse", "total"} == set(retrieval.timings_ms)

    async def test_what_was_read_is_named(self, bench):
        retrieval = await bench.retrieve()
        assert (retrieval.snapshot.uid, retrieval.snapshot.generation) == ("uid-1", 7)
        assert retrieval.embedder_fingerprint == FINGERPRINT

    async def test_nothing_found_is_an_answer(self, bench):
        bench.dense.hits, bench.lexical.hits = [], []
        retrieval = await bench.retrieve()
        assert (retrieval.passages, retrieval.degraded) == ((), ())

    async def test_vectors_that_find_nothing_where_words_find_something_are_lost_and_reported(self, bench):
        bench.dense.hits = []
        retrieval = await bench.retrieve()
        assert retrieval.passages
        assert [(each.stage, each.reason) for each in retrieval.degraded] == [
            ("dense", DegradedReason.DENSE_UNAVAILABLE)
        ]

    async def test_the_scope_of_both_legs_is_the_callers(self, bench):
        await bench.retrieve()
        for scope in (*bench.dense.scopes, *bench.lexical.scopes):
            assert (scope.tenant, scope.groups, scope.snapshot.generation) == ("acme", ("*", "staff"), 7)

    async def test_a_caller_who_goes_cancels_both_legs(self, bench):
        bench.dense.ready, bench.lexical.ready = asyncio.Event(), asyncio.Event()
        asking = asyncio.create_task(bench.retrieve())
        await bench.dense.begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (bench.dense.was_cancelled, bench.lexical.was_cancelled) == (True, True)


class TestOneLeg:
    async def test_lexical_alone_embeds_nothing(self, bench):
        retrieval = await bench.retrieve(legs=Legs.LEXICAL)
        assert (ids(retrieval), bench.dense.asked, bench.embedder.embedded) == (["b", "c"], [], [])
        assert retrieval.degraded == ()

    async def test_dense_alone_asks_no_lexical_leg(self, bench):
        retrieval = await bench.retrieve(legs=Legs.DENSE)
        assert (ids(retrieval), bench.lexical.asked) == (["a", "b"], [])

    async def test_dense_alone_without_an_embedder_is_unavailable(self, bench):
        bench.embedder = None
        with pytest.raises(SearchUnavailable):
            await bench.retrieve(legs=Legs.DENSE)


LOST_LEG = [
    ("dense", DegradedReason.DENSE_UNAVAILABLE, ["b", "c"]),
    ("lexical", DegradedReason.LEXICAL_UNAVAILABLE, ["a", "b"]),
]
FAILURES = [SearchUnavailable("down"), DeadlineExceeded("late"), BackendUnavailable("broken"), TimeoutError()]


class TestALostLeg:
    @pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
    @pytest.mark.parametrize(("leg", "reason", "left"), LOST_LEG)
    async def test_a_failed_leg_degrades_to_the_other_ones_results(self, bench, leg, reason, left, failure):
        getattr(bench, leg).failure = failure
        retrieval = await bench.retrieve()
        assert (ids(retrieval), reasons(retrieval)) == (left, [(leg, reason)])

    @pytest.mark.parametrize(("leg", "reason", "left"), LOST_LEG)
    async def test_a_late_leg_is_cancelled_and_left_out(self, bench, leg, reason, left):
        bench.timebox_s = HANG_TIMEBOX_S
        late = getattr(bench, leg)
        late.ready = asyncio.Event()
        retrieval = await bench.retrieve()
        assert (ids(retrieval), reasons(retrieval), late.was_cancelled) == (left, [(leg, reason)], True)

    async def test_what_it_means_is_said_in_words(self, bench):
        bench.dense.failure = SearchUnavailable("down")
        [degradation] = (await bench.retrieve()).degraded
        assert degradation.effect.startswith("Passages were found by words only")

    async def test_both_legs_gone_is_unavailable_and_says_when_to_retry(self, bench):
        bench.dense.failure = bench.lexical.failure = SearchUnavailable("down")
        with pytest.raises(SearchUnavailable) as raised:
            await bench.retrieve()
        assert raised.value.retry_after_s == 1.0

    async def test_both_legs_late_within_the_callers_time_is_unavailable(self, bench):
        bench.timebox_s = HANG_TIMEBOX_S
        bench.dense.ready, bench.lexical.ready = asyncio.Event(), asyncio.Event()
        with pytest.raises(SearchUnavailable):
            await bench.retrieve()

    async def test_the_callers_time_running_out_is_a_deadline(self, bench):
        async def search(asked, scope, limit, *, budget):
            bench.clock.advance(10)
            raise DeadlineExceeded("late")

        bench.dense.search = bench.lexical.search = search
        with pytest.raises(DeadlineExceeded):
            await bench.retrieve()

    async def test_a_spent_budget_asks_nobody(self, bench):
        with pytest.raises(DeadlineExceeded):
            await bench.retrieve(budget_s=0.001)
        assert (bench.dense.asked, bench.lexical.asked, bench.embedder.embedded) == ([], [], [])

    async def test_a_bug_in_a_leg_is_not_taken_for_an_outage(self, bench):
        bench.dense.failure = ZeroDivisionError()
        with pytest.raises(ExceptionGroup):
            await bench.retrieve()


class TestTheEmbedder:
    @pytest.mark.parametrize(
        "embedder",
        [
            lambda: None,
            lambda: FakeEmbedder(fingerprint="another/4"),
            lambda: FakeEmbedder(failure=EmbedderUnavailable("no model")),
            lambda: FakeEmbedder(failure=DeadlineExceeded("late")),
        ],
        ids=["missing", "not the collection's", "failing", "out of time"],
    )
    async def test_without_the_collections_embedder_search_is_lexical_and_says_so(self, bench, embedder):
        bench.embedder = embedder()
        retrieval = await bench.retrieve()
        assert (ids(retrieval), bench.dense.asked) == (["b", "c"], [])
        assert reasons(retrieval) == [("embed", DegradedReason.EMBEDDER_UNAVAILABLE)]

    async def test_a_lexical_collection_without_an_embedder_lacks_nothing(self, bench):
        bench.embedder = None
        bench.heads.head = make_head(embedder_fingerprint="")
        retrieval = await bench.retrieve()
        assert (ids(retrieval), reasons(retrieval)) == (["b", "c"], [])

    async def test_a_lexical_collection_beside_an_embedder_says_that_it_is_not_used(self, bench):
        bench.heads.head = make_head(embedder_fingerprint="")
        assert reasons(await bench.retrieve()) == [("embed", DegradedReason.EMBEDDER_UNAVAILABLE)]

    async def test_a_late_embedding_is_left_out(self, bench):
        bench.timebox_s = HANG_TIMEBOX_S
        bench.embedder.ready = asyncio.Event()
        assert reasons(await bench.retrieve()) == [("embed", DegradedReason.EMBEDDER_UNAVAILABLE)]

    async def test_a_vector_of_this_embedder_is_used_as_it_is(self, bench):
        await bench.retrieve(vector=own_vector())
        assert bench.embedder.embedded == []
        np.testing.assert_array_equal(bench.dense.asked[0], unit_vector())

    async def test_a_vector_of_another_embedder_is_ignored_and_the_text_embedded(self, bench):
        await bench.retrieve(vector=own_vector(fingerprint="another/4", values=(9.0,)))
        assert bench.embedder.embedded == ["what is it?"]

    @pytest.mark.parametrize(
        "values",
        [(1.0,), (), (0.0,) * DIM, (2.0, 0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0, 0.0), (float("inf"), 0.0, 0.0, 0.0)],
    )
    async def test_a_vector_that_is_none_is_refused(self, bench, values):
        with pytest.raises(InvalidRequest) as raised:
            await bench.retrieve(vector=own_vector(values=values))
        assert [violation.field for violation in raised.value.violations] == ["embedding.values"]

    async def test_its_own_vector_does_not_help_in_a_collection_of_another_embedder(self, bench):
        bench.heads.head = make_head(embedder_fingerprint="another/4")
        retrieval = await bench.retrieve(vector=own_vector())
        assert bench.dense.asked == []
        assert reasons(retrieval) == [("embed", DegradedReason.EMBEDDER_UNAVAILABLE)]


class TestTheCatalogue:
    async def test_an_unknown_collection_is_not_found(self, bench):
        with pytest.raises(CollectionNotFound):
            await bench.retrieve(collection="other")

    async def test_another_tenants_collection_is_not_found(self, bench):
        with pytest.raises(CollectionNotFound):
            await bench.retrieve(identity=Identity("rival"))

    async def test_while_it_is_down_the_last_known_snapshot_is_read_and_reported(self, bench):
        await bench.retrieve()
        bench.lose_catalogue()
        bench.clock.advance(299)
        retrieval = await bench.retrieve()
        assert len(retrieval.passages) == 3
        assert reasons(retrieval) == [("catalogue", DegradedReason.CATALOGUE_UNAVAILABLE)]

    async def test_after_five_minutes_the_last_known_snapshot_is_too_old(self, bench):
        await bench.retrieve()
        bench.lose_catalogue()
        bench.clock.advance(301)
        with pytest.raises(CatalogueUnavailable):
            await bench.retrieve()

    async def test_down_from_the_start_it_is_unavailable(self, bench):
        bench.lose_catalogue()
        with pytest.raises(CatalogueUnavailable):
            await bench.retrieve()

    async def test_every_retrieval_reads_the_snapshot_anew(self, bench):
        await bench.retrieve()
        bench.heads.head = make_head(snapshot=replace(bench.heads.head.snapshot, generation=8))
        assert (await bench.retrieve()).snapshot.generation == 8

    async def test_a_generation_that_was_reached_is_read(self, bench):
        assert (await bench.retrieve(min_generation=7)).snapshot.generation == 7

    async def test_a_generation_ahead_is_not_reached(self, bench):
        with pytest.raises(GenerationNotReached) as raised:
            await bench.retrieve(min_generation=8)
        assert raised.value.metadata == {"generation": "7"}

    async def test_a_failing_request_leaves_no_embedding_behind(self, bench):
        bench.embedder.ready = asyncio.Event()
        with pytest.raises(CollectionNotFound):
            await bench.retrieve(collection="other")
        assert asyncio.all_tasks() == {asyncio.current_task()}


YEAR_2026 = Comparison("year", Operator.EQ, (2026.0,))
LIES = {
    "a version born after the snapshot": make_hit("x", number=10),
    "a version of an aborted transaction": make_hit("x", number=5),
    "a version that was replaced": make_hit("x", number=2),
    "a document of another group": make_hit("x", groups=("board",)),
    "a document without groups": make_hit("x", groups=()),
    "a document that does not match": make_hit("x", metadata={"year": 1999.0}),
    "a chunk of another version than its document's": make_hit("x", version=version_of(1, 999)),
}


class TestAStoreThatLies:
    @pytest.mark.parametrize("leg", ["dense", "lexical"])
    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
    async def test_what_it_must_not_return_is_kept_from_the_caller_and_counted(self, bench, leg, lie):
        getattr(bench, leg).hits.insert(0, lie)
        retrieval = await bench.retrieve(filter=YEAR_2026)
        assert sorted(ids(retrieval)) == ["a", "b", "c"]
        assert retrieval.rejected_hits == 1

    async def test_a_lie_does_not_shift_the_ranks_of_the_others(self, bench):
        bench.dense.hits.insert(0, LIES["a document of another group"])
        [best] = [each for each in (await bench.retrieve()).passages if each.document.document_id == "a"]
        assert best.dense.rank == 1


class TestTheFilter:
    async def test_an_unknown_field_is_refused_before_anything_is_searched(self, bench):
        with pytest.raises(FilterInvalid):
            await bench.retrieve(filter=Comparison("colour", Operator.EQ, ("red",)))
        assert (bench.dense.asked, bench.lexical.asked) == ([], [])

    async def test_it_reaches_both_legs(self, bench):
        await bench.retrieve(filter=YEAR_2026)
        assert {scope.filter for scope in (*bench.dense.scopes, *bench.lexical.scopes)} == {YEAR_2026}


async def test_the_timebox_is_capped_by_the_callers_budget(bench):
    bench.timebox_s = 5.0
    bench.dense = FakeLeg()
    bench.dense.ready = asyncio.Event()
    async with asyncio.timeout(2.0):
        retrieval = await bench.retrieve(budget_s=0.05)
    assert reasons(retrieval) == [("dense", DegradedReason.DENSE_UNAVAILABLE)]


def _after(embedder, get):
    """A catalogue that answers only once something was embedded."""
    begun = asyncio.Event()
    embed = embedder.embed

    async def embed_first(texts, *, budget):
        begun.set()
        return await embed(texts, budget=budget)

    async def get_second(tenant, name, *, budget):
        await begun.wait()
        return await get(tenant, name, budget=budget)

    embedder.embed = embed_first
    return get_second
