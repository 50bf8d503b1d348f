"""What stands around the legs, the pipeline and the writer: a breaker, numbers, spans; never content."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from chassis.breaker import Breaker, State
from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, DocumentUnreadable, SearchUnavailable
from chassis.identity import LOCAL
from chassis.telemetry import Telemetry
from retriever.documents import DocumentSource
from retriever.ingest.uploads import Upload
from retriever.observed import ObservedRetrieval, ObservedWriter
from retriever.search.observed import ObservedDenseLeg, ObservedLexicalLeg
from retriever.types import And, Comparison, Not, Operator, Outcome, PutResult, RetrievalQuery, Scope, Snapshot
from tests.unit.retriever.pipeline_fakes import READER, Bench, FakeClock, FakeLeg, make_hit, unit_vector

SCOPE = Scope("acme", Snapshot("uid-1"), ("*",))
SECRET = "the secret question"


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(spans):
    return Telemetry("test", processor=SimpleSpanProcessor(spans), sampler=ALWAYS_ON)


def exposed(telemetry):
    return telemetry.exposition()[0].decode()


class TestALeg:
    def observed(self, leg, telemetry):
        breaker = Breaker("lexical", error=SearchUnavailable)
        return ObservedLexicalLeg(leg, breaker, telemetry), breaker

    async def test_its_hits_pass_through_and_are_timed(self, telemetry):
        leg, _ = self.observed(FakeLeg([make_hit("a")]), telemetry)
        assert len(await leg.search("x", SCOPE, 5, budget=Budget.of(5))) == 1
        assert 'rag_retrieval_leg_seconds_count{leg="lexical",outcome="ok"} 1.0' in exposed(telemetry)

    async def test_one_that_fails_again_and_again_is_not_asked_any_more(self, telemetry):
        inner = FakeLeg(failure=SearchUnavailable("down"))
        leg, breaker = self.observed(inner, telemetry)
        for _ in range(12):
            with pytest.raises(SearchUnavailable):
                await leg.search("x", SCOPE, 5, budget=Budget.of(5))
        assert (len(inner.asked), breaker.state) == (10, State.OPEN)

    async def test_one_that_hangs_fails_as_often_as_it_takes_to_open_the_breaker(self, telemetry):
        inner = FakeLeg()
        inner.ready = asyncio.Event()
        leg, breaker = self.observed(inner, telemetry)
        for _ in range(10):
            with pytest.raises(DeadlineExceeded):
                await leg.search("x", SCOPE, 5, budget=Budget.of(0.11))
        assert (inner.was_cancelled, breaker.state) == (True, State.OPEN)

    async def test_callers_with_tiny_deadlines_do_not_shut_it_off_for_everybody(self, telemetry):
        inner = FakeLeg([make_hit("a")])
        inner.ready = asyncio.Event()
        leg, breaker = self.observed(inner, telemetry)
        for _ in range(20):
            with pytest.raises(DeadlineExceeded):
                await leg.search("x", SCOPE, 5, budget=Budget.of(0.002))
        assert breaker.state is State.CLOSED
        inner.ready.set()
        assert await leg.search("x", SCOPE, 5, budget=Budget.of(5))

    async def test_one_that_is_down_is_so_for_callers_with_tiny_deadlines_too(self, telemetry):
        leg, breaker = self.observed(FakeLeg(failure=SearchUnavailable("down")), telemetry)
        for _ in range(10):
            with pytest.raises(SearchUnavailable):
                await leg.search("x", SCOPE, 5, budget=Budget.of(0.05))
        assert breaker.state is State.OPEN

    async def test_it_is_given_up_before_its_callers_timebox_ends(self, telemetry):
        inner = FakeLeg()
        leg, _ = self.observed(inner, telemetry)
        budget = Budget.of(0.25, FakeClock())
        await leg.search("x", SCOPE, 5, budget=budget)
        assert inner.budgets[0].remaining_s() == pytest.approx(0.95 * budget.remaining_s())

    async def test_the_dense_one_is_asked_with_its_vector(self, telemetry):
        inner = FakeLeg([make_hit("a")])
        leg = ObservedDenseLeg(inner, Breaker("dense"), telemetry)
        vector = unit_vector()
        await leg.search(vector, SCOPE, 5, budget=Budget.of(5))
        assert inner.asked[0] is vector


class TestARetrieval:
    async def test_it_leaves_one_span_with_the_originals_attributes_and_no_content(self, telemetry, spans):
        query = RetrievalQuery("docs", SECRET, filter=And((Not(Comparison("year", Operator.EXISTS)), And())))
        bench = Bench()
        bench.dense.failure = SearchUnavailable("down")
        retrieval = ObservedRetrieval(bench.pipeline(), telemetry)
        await retrieval.retrieve(READER, query, Budget.of(5, bench.clock))
        [span] = spans.get_finished_spans()
        assert span.name == "rag.retrieve"
        assert span.attributes["rag.request.topK"] == 5
        assert span.attributes["rag.request.filters"] == 1
        assert span.attributes["rag.retrieval.source"] == "lexical"
        assert span.attributes["rag.fallback.reason"] == "DENSE_UNAVAILABLE"
        assert {event.name for event in span.events} >= {"snapshot", "embed", "dense", "lexical", "fuse", "total"}
        assert SECRET not in span.to_json()

    async def test_hits_a_store_should_not_have_returned_are_counted(self, telemetry, caplog):
        bench = Bench()
        bench.dense.hits.append(make_hit("x", groups=("board",)))
        retrieval = ObservedRetrieval(bench.pipeline(), telemetry)
        await retrieval.retrieve(READER, RetrievalQuery("docs", SECRET), Budget.of(5, bench.clock))
        assert "rag_retrieval_rejected_hits_total 1.0" in exposed(telemetry)
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    async def test_one_that_fails_is_counted_as_answered_by_nothing(self, telemetry, spans):
        bench = Bench()
        bench.dense.failure = bench.lexical.failure = SearchUnavailable("down")
        retrieval = ObservedRetrieval(bench.pipeline(), telemetry)
        with pytest.raises(SearchUnavailable):
            await retrieval.retrieve(READER, RetrievalQuery("docs", SECRET), Budget.of(5, bench.clock))
        assert 'rag_retrieval_requests_total{source="none"} 1.0' in exposed(telemetry)
        assert spans.get_finished_spans()[0].attributes["rag.fallback.reason"] == "SEARCH_UNAVAILABLE"


class FakeWriter:
    def __init__(self, answer) -> None:
        self._answer = answer

    async def put_upload(self, identity, collection, upload, budget):
        if isinstance(self._answer, Exception):
            raise self._answer
        return PutResult(self._answer, 1, make_hit("a").document)

    async def put(self, identity, collection, source, budget):
        return await self.put_upload(identity, collection, Upload(0, source), budget)

    async def delete(self, identity, collection, document_id, budget):
        return 2

    async def drop_collection(self, identity, collection, budget):
        return None


class TestADocument:
    @pytest.mark.parametrize("outcome", list(Outcome))
    async def test_it_is_counted_by_its_outcome(self, telemetry, outcome):
        writer = ObservedWriter(FakeWriter(outcome), telemetry)
        await writer.put(LOCAL, "docs", DocumentSource("a", b"x"), Budget.of(5))
        assert f'rag_ingest_documents_total{{outcome="{outcome}"}} 1.0' in exposed(telemetry)

    async def test_a_failed_one_names_its_reason(self, telemetry, spans):
        writer = ObservedWriter(FakeWriter(DocumentUnreadable("no pdf")), telemetry)
        with pytest.raises(DocumentUnreadable):
            await writer.put(LOCAL, "docs", DocumentSource("a", b"x"), Budget.of(5))
        assert 'rag_ingest_documents_total{outcome="FAILED"} 1.0' in exposed(telemetry)
        assert spans.get_finished_spans()[0].attributes["rag.fallback.reason"] == "DOCUMENT_UNREADABLE"

    async def test_a_deleted_one_is_counted(self, telemetry):
        writer = ObservedWriter(FakeWriter(Outcome.STORED), telemetry)
        assert await writer.delete(LOCAL, "docs", "a", Budget.of(5)) == 2
        assert "rag_ingest_deleted_total 1.0" in exposed(telemetry)
