"""What a request leaves behind: one trace from the gateway on, and its numbers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from chassis.telemetry import Telemetry

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ASK = "/v1/collections/docs:ask"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(exporter):
    return Telemetry("askmesh-gateway", processor=SimpleSpanProcessor(exporter), sampler=ALWAYS_ON)


def server_span(exporter):
    [span] = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
    return span


async def test_a_callers_trace_is_continued_to_the_service(client, exporter):
    await client.post(ASK, json={"question": "q"}, headers={"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"})
    spans = exporter.get_finished_spans()
    assert {format(span.context.trace_id, "032x") for span in spans} == {TRACE_ID}
    outgoing = next(span for span in spans if span.kind is SpanKind.CLIENT)
    assert outgoing.parent.span_id == server_span(exporter).context.span_id


async def test_without_one_a_trace_begins_at_the_gateway(client, exporter):
    await client.post(ASK, json={"question": "q"})
    assert server_span(exporter).parent is None


async def test_a_span_names_the_route_and_never_the_question(client, exporter):
    await client.get("/v1/ask/stream", params={"prompt": "my salary"})
    attributes = dict(server_span(exporter).attributes)
    assert attributes["http.route"] == "/v1/ask/stream"
    assert attributes["http.response.status_code"] == 200
    assert "salary" not in str(attributes)


def count(telemetry, name, **labels):
    return telemetry.registry.get_sample_value(name, labels)


async def test_requests_are_counted_by_route_and_outcome(client, telemetry):
    await client.post(ASK, json={"question": "busy"})
    labels = {
        "application": "askmesh-gateway",
        "method": "POST",
        "uri": "/v1/collections/{collection}:ask",
        "status": "429",
        "outcome": "CLIENT_ERROR",
    }
    assert count(telemetry, "http_server_requests_seconds_count", **labels) == 1


async def test_paths_nobody_knows_share_one_label(client, telemetry):
    for path in ("/a", "/b", "/c"):
        await client.get(path)
    samples = [
        sample
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == "http_server_requests_seconds_count"
    ]
    assert [(sample.labels["uri"], sample.value) for sample in samples] == [("unmatched", 3)]


async def test_callers_who_leave_are_counted(started, seen, telemetry):
    async with started() as (gateway, _), httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        asking = asyncio.create_task(client.post(ASK, json={"question": "wait"}))
        async with asyncio.timeout(5):
            await seen.started.wait()
            asking.cancel()
            await seen.cancelled.wait()
    assert count(telemetry, "askmesh_gateway_clients_gone_total", uri="/v1/collections/{collection}:ask") == 1
