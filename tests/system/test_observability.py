"""One ask leaves one connected trace, and moves the right counters."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from concurrent import futures

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bench.installation import start, stop, wait_for


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it gets."""

    def __init__(self):
        self.spans = []
        self.port = 0
        self.came = threading.Condition()

    def Export(self, request, context):  # noqa: N802  # the contract's name
        with self.came:
            for resource in request.resource_spans:
                attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
                self.spans += [
                    (attributes["service.name"], span) for scope in resource.scope_spans for span in scope.spans
                ]
            self.came.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace_id, services):
        """The spans of one trace, once each of these services has sent one."""
        deadline = time.monotonic() + 20
        with self.came:
            while True:
                found = [(name, span) for name, span in self.spans if span.trace_id.hex() == trace_id]
                if services <= {name for name, _ in found}:
                    return found
                assert self.came.wait(timeout=deadline - time.monotonic()), f"only {found}"


@pytest.fixture(scope="module")
def receiver():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    kept = Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(kept, server)
    kept.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield kept
    server.stop(0).wait()


@pytest.fixture(scope="module")
def traced(receiver, tmp_path_factory):
    made = start(
        tmp_path_factory.mktemp("traced"),
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",  # milliseconds; the SDK's 5 s would be waited for by every test
        },
    )
    wait_for(made, "Ctrl-C")
    yield made
    assert stop(made) == 0, "\n".join(made.lines)


def ask(made, question, policy="DEFAULT"):
    body = json.dumps({"question": question, "cachePolicy": f"CACHE_POLICY_{policy}"}).encode()
    request = urllib.request.Request(  # our own loopback server
        f"{made.url}/v1/collections/docs:ask", data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def metrics(made):
    with urllib.request.urlopen(made.url + "/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    totals: dict[str, float] = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            totals[name] = float(value)
            bare = name.partition("{")[0]
            if bare != name:
                totals[bare] = totals.get(bare, 0.0) + float(value)
    return totals


def test_one_ask_leaves_one_connected_trace_over_the_three_services(traced, receiver):
    answer = ask(traced, "What is the walk of one request?", "BYPASS")
    services = {"askmesh-gateway", "askmesh-orchestrator", "askmesh-retriever"}
    spans = receiver.trace(answer["started"]["traceId"], services)
    ids = {span.span_id for _, span in spans}
    roots = [span for _, span in spans if span.parent_span_id not in ids]
    assert len(roots) == 1, [(name, span.name) for name, span in spans]
    assert {name for name, _ in spans} == services
    names = {span.name for _, span in spans}
    assert {"rag.ask", "rag.retrieve"} <= names


def test_no_span_holds_the_question(traced, receiver):
    answer = ask(traced, "What is the zebrafish deadline?", "BYPASS")
    spans = receiver.trace(answer["started"]["traceId"], {"askmesh-gateway", "askmesh-retriever"})
    assert "zebrafish" not in " ".join(str(span) for _, span in spans)


def test_a_miss_then_an_exact_hit_move_their_counters(traced):
    before = metrics(traced)
    ask(traced, "What is the pipeline fingerprint?")
    missed = metrics(traced)
    ask(traced, "What is the pipeline fingerprint?")
    hit = metrics(traced)
    assert missed["rag_cache_miss_total"] - before.get("rag_cache_miss_total", 0) == 1
    assert hit["rag_cache_hit_total"] - missed.get("rag_cache_hit_total", 0) == 1
    assert hit["rag_cache_miss_total"] == missed["rag_cache_miss_total"]
    assert hit["rag_orchestrator_latency_seconds_count"] - before["rag_orchestrator_latency_seconds_count"] == 2


def test_a_semantic_hit_moves_its_own_tier(traced):
    ask(traced, "What does the purger wait for before it deletes?")
    before = metrics(traced)
    answer = ask(traced, "What does the purger wait for, before it deletes?")
    after = metrics(traced)
    assert answer["started"]["cache"]["status"] == "CACHE_STATUS_HIT_SEMANTIC"
    name = 'rag_cache_hit_total{tier="semantic"}'
    assert after[name] - before.get(name, 0.0) == 1
    assert after["askmesh_saved_tokens_total"] > before.get("askmesh_saved_tokens_total", 0.0)


def test_a_cancelled_ask_is_counted_as_one_and_leaves_nothing_in_flight(traced):
    before = metrics(traced)
    with httpx.Client(base_url=traced.url, timeout=30) as client:
        body = {"question": "What is a group commit, and why is it fast?", "cachePolicy": "CACHE_POLICY_BYPASS"}
        with client.stream("POST", "/v1/collections/docs:streamAsk", json=body) as reply:
            next(reply.iter_raw(1))  # one byte, then gone
    deadline = time.monotonic() + 20
    while (after := metrics(traced))["askmesh_asks_in_flight"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # another process's progress has no event to wait for
    assert after["askmesh_asks_total"] - before["askmesh_asks_total"] == 1


@pytest.fixture(scope="module")
def without_a_model(tmp_path_factory):
    """An installation whose language model's server is not there."""
    made = start(
        tmp_path_factory.mktemp("modelless"),
        environment={
            "ASKMESH_ORCHESTRATOR_GENERATOR": "openai",
            "ASKMESH_ORCHESTRATOR_LLM_URL": "http://127.0.0.1:1",
            "ASKMESH_ORCHESTRATOR_MODEL_NAME": "gemma-2-2b-it",
        },
    )
    wait_for(made, "Ctrl-C")
    yield made
    assert stop(made) == 0, "\n".join(made.lines)


def test_a_degraded_ask_is_answered_counted_and_never_cached(without_a_model):
    before = metrics(without_a_model)
    first = ask(without_a_model, "What are the three roles?")
    second = ask(without_a_model, "What are the three roles?")
    after = metrics(without_a_model)
    assert [item["reason"] for item in first["completed"]["degraded"]] == ["DEGRADED_REASON_MODEL_UNAVAILABLE"]
    assert first["text"]
    assert second["started"]["cache"]["status"] == "CACHE_STATUS_MISS"
    name = 'askmesh_degraded_total{reason="MODEL_UNAVAILABLE",stage="generate"}'
    assert after[name] - before[name] == 2
    assert after["rag_generator_fallback_total"] - before["rag_generator_fallback_total"] == 2
