"""OrchestratorService over a socket: what a caller in any language gets."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.retriever.v1 import retriever_pb2 as rpb

from chassis.errors import (
    AnswerNotFound,
    CollectionNotFound,
    InternalError,
    PermissionDenied,
    RetrieverUnavailable,
    SearchUnavailable,
)
from tests.contract.orchestrator.asking import failure, request
from tests.contract.orchestrator.servers import CountingGenerator, rig


def kinds(events):
    return [event.WhichOneof("event") for event in events]


async def test_ask_answers_with_citations_and_quotes(tmp_path):
    async with rig(tmp_path) as served:
        reply = await served.stub.Ask(request(), timeout=5)
        assert "30 seconds" in reply.text
        [citation, *_] = reply.citations
        assert citation.document_id == "guide.md"
        begin = citation.start_char - 100
        assert served.retriever.passages[0].text[begin : begin + len(citation.quote)] == citation.quote
        assert reply.completed.grounding == pb.GROUNDING_SUPPORTED
        assert reply.started.cache.status == pb.CACHE_STATUS_MISS
        assert reply.completed.timings.first_token_ms > 0


async def test_the_stream_is_in_order_and_numbered(tmp_path):
    async with rig(tmp_path) as served:
        events = [event async for event in served.stub.StreamAsk(request(), timeout=5)]
        names = kinds(events)
        assert names[:2] == ["answer_started", "retrieval_completed"]
        assert names[-1] == "answer_completed"
        assert names.index("citation_added") < names.index("answer_delta")
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_ask_is_the_fold_of_the_stream(tmp_path):
    async with rig(tmp_path, generator=CountingGenerator(limit=20, gap_s=0.0)) as served:
        events = [e async for e in served.stub.StreamAsk(request(cache_policy=pb.CACHE_POLICY_REFRESH), timeout=5)]
        served.generator.said = 0
        reply = await served.stub.Ask(request(cache_policy=pb.CACHE_POLICY_BYPASS), timeout=5)
        text = "".join(event.answer_delta.text for event in events)
        assert reply.text == text
        assert list(reply.citations) == [e.citation_added.citation for e in events if e.HasField("citation_added")]
        end = events[-1].answer_completed
        for name in ("finish_reason", "usage", "cost", "grounding", "cited_markers", "is_partial"):
            assert getattr(reply.completed, name) == getattr(end, name)


async def test_the_second_ask_is_a_hit_and_evicting_it_makes_a_miss(tmp_path):
    async with rig(tmp_path) as served:
        first = await served.stub.Ask(request(), timeout=5)
        second = await served.stub.Ask(request(), timeout=5)
        assert second.started.cache.status == pb.CACHE_STATUS_HIT_EXACT
        assert second.started.cache.origin_answer_id == first.started.answer_id
        evict = pb.EvictAnswerRequest(collection="docs", answer_id=first.started.answer_id)
        await served.stub.EvictAnswer(evict, timeout=5)
        third = await served.stub.Ask(request(), timeout=5)
        assert third.started.cache.status == pb.CACHE_STATUS_MISS
        assert isinstance(await failure(served.stub.EvictAnswer(evict, timeout=5)), AnswerNotFound)


async def test_a_commit_in_the_retriever_makes_the_next_ask_a_miss(tmp_path):
    async with rig(tmp_path) as served:
        await served.stub.Ask(request(), timeout=5)
        served.retriever.generation = 8
        served.retriever.passages[0].text = "The lease lasts 45 seconds. A purger removes dead versions."
        reply = await served.stub.Ask(request(), timeout=5)
        assert reply.started.cache.status == pb.CACHE_STATUS_MISS
        assert "45 seconds" in reply.text


async def test_personal_data_never_reaches_the_retriever(tmp_path):
    async with rig(tmp_path) as served:
        text = "Who is jo@example.org with 123-45-6789 and 4111 1111 1111 1111?"
        reply = await served.stub.Ask(request(text), timeout=5)
        assert served.retriever.requests[0].query == "Who is [redacted] with [redacted] and [redacted]?"
        assert reply.started.cache.status == pb.CACHE_STATUS_SKIPPED


async def test_cancelling_a_stream_stops_the_generation(tmp_path):
    async with rig(tmp_path, generator=CountingGenerator()) as served:
        call = served.stub.StreamAsk(request(), timeout=30)
        async for event in call:
            if event.HasField("answer_delta"):
                break
        call.cancel()
        await asyncio.wait_for(served.generator.stopped.wait(), 2)
        said = served.generator.said
        await asyncio.sleep(0.05)  # ten tokens' time
        assert served.generator.said == said


async def test_cancelling_a_unary_ask_stops_the_generation(tmp_path):
    async with rig(tmp_path, generator=CountingGenerator()) as served:
        call = served.stub.Ask(request(), timeout=30)
        await asyncio.wait_for(served.generator.has_begun.wait(), 5)
        call.cancel()
        await asyncio.wait_for(served.generator.stopped.wait(), 2)
        said = served.generator.said
        await asyncio.sleep(0.05)
        assert served.generator.said == said


async def test_a_callers_deadline_trims_the_answer(tmp_path):
    async with rig(tmp_path, generator=CountingGenerator()) as served:
        reply = await served.stub.Ask(request(), timeout=0.8)
        assert reply.completed.is_partial
        assert reply.completed.finish_reason == pb.FINISH_REASON_DEADLINE
        assert [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_DEADLINE_TRIMMED]
        assert reply.text.startswith("word word")
        await asyncio.wait_for(served.generator.stopped.wait(), 2)


async def test_a_hundred_identical_asks_over_the_wire_make_one_generation(tmp_path):
    # A hundred snapshots at once on a busy machine take longer than the shipped timebox; flights are what is tested.
    wide = {"max_concurrency": 200, "retrieve_timeout_ms": 5_000}
    async with rig(tmp_path, generator=CountingGenerator(limit=30), **wide) as served:
        replies = await asyncio.gather(*(served.stub.Ask(request(), timeout=20) for _ in range(100)))
        assert served.generator.started == 1
        assert len({reply.text for reply in replies}) == 1
        assert sum(reply.completed.usage.completion_tokens > 0 for reply in replies) == 1
        assert _value(served, "askmesh_first_token_seconds_count", cache="miss") == 1
        joined, hit = (_value(served, "askmesh_first_token_seconds_count", cache=said) for said in ("joined", "hit"))
        assert joined + hit == 99  # whoever comes after its end, on a slow machine, finds it in the cache
        assert joined


async def test_the_wait_for_a_place_is_in_the_timings(tmp_path):
    async with rig(tmp_path, generator=CountingGenerator(limit=20), max_concurrency=1) as served:
        bypass = [request(f"Question {n}?", cache_policy=pb.CACHE_POLICY_BYPASS) for n in range(2)]
        replies = await asyncio.gather(*(served.stub.Ask(one, timeout=10) for one in bypass))
        first, second = sorted(replies, key=lambda reply: reply.completed.timings.queue_ms)
        assert second.completed.timings.queue_ms > 0.5 * first.completed.timings.generate_ms
        assert second.completed.timings.total_ms > second.completed.timings.queue_ms


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (CollectionNotFound("none", metadata={"collection": "docs"}), CollectionNotFound),
        (SearchUnavailable("both legs"), SearchUnavailable),
        (InternalError("a bug"), RetrieverUnavailable),
        (ValueError("driver text"), RetrieverUnavailable),
    ],
)
async def test_what_the_retriever_says_becomes_the_callers_reason(tmp_path, raised, seen):
    async with rig(tmp_path) as served:
        served.retriever.error = raised
        error = await failure(served.stub.Ask(request(), timeout=5))
        assert type(error) is seen
        assert "driver" not in error.message
        assert seen is CollectionNotFound or error.retry_after_s


async def test_a_slow_retriever_fails_within_300_ms_and_a_reserve(tmp_path):
    async with rig(tmp_path) as served:
        served.retriever.delay_s = 5
        loop = asyncio.get_running_loop()
        began = loop.time()
        error = await failure(served.stub.Ask(request(), timeout=5))
        assert isinstance(error, RetrieverUnavailable)
        assert loop.time() - began < 1.5  # 300 ms, and what a busy machine adds; without a timebox it would be 5 s


async def test_the_retrievers_degradation_is_passed_on_and_logged_once(tmp_path, caplog):
    async with rig(tmp_path) as served:
        served.retriever.degraded = [
            rpb.Degradation(stage="dense", reason=rpb.DEGRADED_REASON_DENSE_UNAVAILABLE, effect="Words only.")
        ]
        reply = await served.stub.Ask(request(), timeout=5)
        assert [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_DENSE_UNAVAILABLE]
        [line] = [record for record in caplog.records if record.name == "orchestrator.observed"]
        assert line.reasons == "DENSE_UNAVAILABLE"
        again = await served.stub.Ask(request(), timeout=5)
        assert again.started.cache.status == pb.CACHE_STATUS_MISS


async def test_request_id_and_credentials_are_relayed(tmp_path):
    async with rig(tmp_path) as served:
        metadata = (("x-request-id", "abc-1"), ("authorization", "Bearer k"), ("x-askmesh-variant", "v2"))
        reply = await served.stub.Ask(request(), timeout=5, metadata=metadata)
        assert reply.started.request_id == "abc-1"
        [seen] = served.retriever.metadata
        assert seen["x-request-id"] == "abc-1"
        assert seen["authorization"] == "Bearer k"
        assert seen["x-askmesh-variant"] == "v2"


async def test_roles_and_tenants_are_enforced(tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(_keys()))
    async with rig(tmp_path, auth="api-key", api_keys_file=keys) as served:
        reader, writer, other = ((("authorization", f"Bearer {key}"),) for key in ("reader", "writer", "other"))
        made = await served.stub.Ask(request(), timeout=5, metadata=reader)
        evict = pb.EvictAnswerRequest(collection="docs", answer_id=made.started.answer_id)
        denied = await failure(served.stub.EvictAnswer(evict, timeout=5, metadata=reader))
        assert isinstance(denied, PermissionDenied)
        hidden = await failure(served.stub.EvictAnswer(evict, timeout=5, metadata=other))
        assert isinstance(hidden, AnswerNotFound)
        fresh = await served.stub.Ask(request(), timeout=5, metadata=other)
        assert fresh.started.cache.status == pb.CACHE_STATUS_MISS
        await served.stub.EvictAnswer(evict, timeout=5, metadata=writer)


def _keys():
    people = [("reader", "acme", ["ask"]), ("writer", "acme", ["ask", "ingest"]), ("other", "beta", ["ask", "ingest"])]
    return [
        {"sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant, "roles": roles, "subject": key}
        for key, tenant, roles in people
    ]


async def test_asks_move_the_counters(tmp_path):
    async with rig(tmp_path, generator=CountingGenerator(limit=5, gap_s=0)) as served:
        await served.stub.Ask(request(), timeout=5)
        await served.stub.Ask(request(), timeout=5)
        served.generator.limit, served.generator.said = None, 0
        served.generator.stopped.clear()
        call = served.stub.StreamAsk(request("What does the purger remove?"), timeout=30)
        async for event in call:
            if event.HasField("answer_delta"):
                break
        call.cancel()
        await asyncio.wait_for(served.generator.stopped.wait(), 2)
        for _ in range(100):
            if _value(served, "askmesh_asks_total", outcome="cancelled"):
                break
            await asyncio.sleep(0.01)
        assert _value(served, "rag_cache_hit_total", tier="exact") == 1
        assert _value(served, "rag_cache_miss_total") == 2
        assert _value(served, "askmesh_asks_total", outcome="ok") == 2
        assert _value(served, "askmesh_asks_total", outcome="cancelled") == 1
        assert _value(served, "askmesh_asks_in_flight") == 0
        assert _value(served, "rag_tokens_generated_total", model="counting") > 5
        assert _value(served, "askmesh_saved_tokens_total") == 105
        assert _value(served, "rag_orchestrator_latency_seconds_count") == 2


def _value(served, name, **labels):
    return served.telemetry.registry.get_sample_value(name, labels) or 0


async def test_a_model_server_that_is_not_there_degrades_the_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("ASKMESH_ORCHESTRATOR_GENERATOR", "openai")
    monkeypatch.setenv("LLM_URL", "http://127.0.0.1:1/v1")  # nothing listens on port 1
    async with rig(tmp_path) as served:
        reply = await served.stub.Ask(request(), timeout=5)
        assert reply.started.model == "gemma-2-2b-it"
        assert [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_MODEL_UNAVAILABLE]
        assert "30 seconds" in reply.text
        assert _value(served, "rag_generator_fallback_total", reason="MODEL_UNAVAILABLE") == 1
        again = await served.stub.Ask(request(), timeout=5)
        assert again.started.cache.status == pb.CACHE_STATUS_MISS


async def test_a_model_that_scales_to_zero_is_cold_says_when_to_ask_again_and_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("ASKMESH_ORCHESTRATOR_GENERATOR", "triton")
    monkeypatch.setenv("ASKMESH_ORCHESTRATOR_TRITON_ADDRESS", "127.0.0.1:1")  # nothing listens: asleep
    monkeypatch.setenv("ASKMESH_ORCHESTRATOR_TRITON_SCALES_TO_ZERO", "true")
    async with rig(tmp_path) as served:
        assert _value(served, "askmesh_generations_wanted_total", model="gemma-2-2b-it") == 0
        reply = await served.stub.Ask(request(), timeout=5)
        (lost,) = reply.completed.degraded
        assert lost.reason == pb.DEGRADED_REASON_MODEL_COLD
        assert lost.retry_after.ToSeconds() == 30
        assert "30 seconds" in reply.text
        assert _value(served, "askmesh_generations_wanted_total", model="gemma-2-2b-it") == 1
        assert _value(served, "askmesh_generations_in_flight", model="gemma-2-2b-it") == 0
