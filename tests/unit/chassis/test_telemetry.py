"""Metrics that are declared once, spans that hold no text, and where both go."""

from __future__ import annotations

import asyncio
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from askmesh.rig.ports import free_ports
from chassis.errors import PortInUse
from chassis.metrics import CHASSIS_METRICS
from chassis.telemetry import Kind, Metric, Telemetry, build_telemetry, current_trace_id, remote_parent, trace_headers

ASKS = Metric("askmesh_test_asks_total", Kind.COUNTER, "Asks.", ("outcome",))
DEPTH = Metric("askmesh_test_depth", Kind.GAUGE, "Depth.")
TOOK = Metric("askmesh_test_seconds", Kind.HISTOGRAM, "Time.", buckets=(0.1, 1.0))


def settings(**changes):
    return SimpleNamespace(**({"otlp_endpoint": "", "trace_sample_ratio": 1.0, "metrics_listen": ""} | changes))


def test_declared_metrics_are_exposed_and_found_by_name():
    telemetry = Telemetry("test")
    telemetry.declare(ASKS, DEPTH, TOOK)
    telemetry.counter("askmesh_test_asks_total").labels("hit").inc()
    telemetry.gauge(DEPTH).set(3)
    telemetry.histogram(TOOK).observe(0.05)
    body = telemetry.exposition()[0].decode()
    assert 'askmesh_test_asks_total{outcome="hit"} 1.0' in body
    assert "askmesh_test_depth 3.0" in body
    assert 'askmesh_test_seconds_bucket{le="0.1"} 1.0' in body


def test_declaring_a_metric_twice_is_harmless_and_differently_is_not():
    telemetry = Telemetry("test")
    telemetry.declare(ASKS)
    telemetry.declare(ASKS)
    with pytest.raises(ValueError, match="declared twice"):
        telemetry.declare(Metric(ASKS.name, Kind.COUNTER, "Other.", ("outcome",)))


def test_a_metric_nobody_declared_cannot_be_used():
    with pytest.raises(KeyError):
        Telemetry("test").counter("askmesh_never_declared_total")


def test_services_of_one_process_share_metrics_and_keep_their_names():
    process = Telemetry("askmesh")
    first, second = process.for_service("askmesh-retriever"), process.for_service("askmesh-orchestrator")
    first.counter(ASKS).labels("hit").inc()
    second.counter(ASKS).labels("hit").inc()
    assert process.registry.get_sample_value("askmesh_test_asks_total", {"outcome": "hit"}) == 2
    assert (first.service_name, second.service_name) == ("askmesh-retriever", "askmesh-orchestrator")


def test_the_chassis_s_own_metrics_have_different_names():
    assert len({metric.name for metric in CHASSIS_METRICS}) == len(CHASSIS_METRICS)
    Telemetry("test").declare(*CHASSIS_METRICS)


def test_spans_make_a_tree_across_headers_and_name_their_service():
    exporter = InMemorySpanExporter()

    async def run() -> str:
        async with build_telemetry("askmesh-a", settings(), exporter=exporter) as telemetry:
            other = telemetry.for_service("askmesh-b")
            with telemetry.span("client", {"askmesh.n": 1}) as client:
                headers = trace_headers(client)
            with other.span("server", parent=remote_parent(headers)):
                return current_trace_id()

    trace_id = asyncio.run(run())
    spans: dict[str, Any] = {span.name: span for span in exporter.get_finished_spans()}
    assert format(spans["client"].context.trace_id, "032x") == trace_id
    assert spans["server"].parent.span_id == spans["client"].context.span_id
    assert spans["server"].resource.attributes["service.name"] == "askmesh-b"


def test_an_exception_through_a_span_leaves_no_text_on_it():
    exporter = InMemorySpanExporter()

    async def run():
        async with build_telemetry("askmesh", settings(), exporter=exporter) as telemetry:
            with telemetry.span("work"):
                raise ValueError("hunter2")

    with pytest.raises(ValueError, match="hunter2"):
        asyncio.run(run())
    (span,) = exporter.get_finished_spans()
    assert "hunter2" not in span.to_json()


def test_without_a_collector_a_new_trace_has_an_id_and_records_nothing():
    telemetry = Telemetry("test")
    with telemetry.span("ask") as span:
        assert len(current_trace_id()) == 32
        assert not span.is_recording()
    assert current_trace_id() == ""


async def test_a_metrics_port_serves_the_registry_and_is_closed_again():
    [port] = free_ports(1)
    listen = f"127.0.0.1:{port}"
    async with build_telemetry("askmesh", settings(metrics_listen=listen)) as telemetry:
        telemetry.gauge(DEPTH).set(7)
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{listen}/metrics").read())
    assert b"askmesh_test_depth 7.0" in body
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(urllib.request.urlopen, f"http://{listen}/metrics")


async def test_a_metrics_port_that_is_taken_is_said_to_be():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    listen = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        with pytest.raises(PortInUse):
            async with build_telemetry("askmesh", settings(metrics_listen=listen)):
                raise AssertionError("it must not open")
