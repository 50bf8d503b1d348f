"""What a reranker may change in a retrieval, and what is left when it fails."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import BackendUnavailable, DeadlineExceeded, SearchUnavailable
from retriever.types import DegradedReason, Legs
from tests.unit.retriever.pipeline_fakes import Bench, FakeReranker, make_hit

FAILURES = [SearchUnavailable("down"), DeadlineExceeded("late"), BackendUnavailable("broken"), TimeoutError()]


@pytest.fixture
async def bench():
    return Bench()


def ids(retrieval):
    return [passage.document.document_id for passage in retrieval.passages]


def reasons(retrieval):
    return [(each.stage, each.reason) for each in retrieval.degraded]


class TestTheReranker:
    async def test_its_order_is_the_answers(self, bench):
        fused = ids(await bench.retrieve())
        bench.reranker = FakeReranker()
        retrieval = await bench.retrieve()
        assert ids(retrieval) == fused[::-1]
        assert [passage.rerank.rank for passage in retrieval.passages] == [1, 2, 3]

    async def test_it_chooses_from_more_than_is_returned(self, bench):
        fused = ids(await bench.retrieve())
        bench.reranker = FakeReranker()
        assert ids(await bench.retrieve(top_k=1)) == fused[-1:]

    @pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
    async def test_a_failing_one_is_skipped(self, bench, failure):
        fused = ids(await bench.retrieve())
        bench.reranker = FakeReranker(failure=failure)
        retrieval = await bench.retrieve()
        assert (ids(retrieval), reasons(retrieval)) == (fused, [("rerank", DegradedReason.RERANK_SKIPPED)])

    async def test_a_late_one_is_skipped(self, bench):
        bench.timebox_s = 0.05
        bench.reranker = FakeReranker()
        bench.reranker.ready = asyncio.Event()
        assert reasons(await bench.retrieve()) == [("rerank", DegradedReason.RERANK_SKIPPED)]

    async def test_it_is_not_begun_without_time_for_it(self, bench):
        async def search(asked, scope, limit, *, budget):
            bench.clock.advance(0.24)
            return [make_hit("a")]

        bench.reranker = FakeReranker()
        bench.lexical.search = search
        retrieval = await bench.retrieve(legs=Legs.LEXICAL)
        assert (ids(retrieval), bench.reranker.calls) == (["a"], 0)
        assert reasons(retrieval) == [("rerank", DegradedReason.RERANK_SKIPPED)]


class TestTheFingerprint:
    async def test_it_changes_with_the_reranker(self, bench):
        plain = bench.pipeline().fingerprint
        bench.reranker = FakeReranker(fingerprint="one")
        one = bench.pipeline().fingerprint
        bench.reranker = FakeReranker(fingerprint="two")
        assert len({plain, one, bench.pipeline().fingerprint}) == 3

    async def test_it_is_the_same_for_the_same_parts(self, bench):
        assert bench.pipeline().fingerprint == Bench().pipeline().fingerprint
