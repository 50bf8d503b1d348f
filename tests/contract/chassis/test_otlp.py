"""Spans that arrive: a real OTLP receiver over gRPC."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.telemetry import build_telemetry


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: dict[str, list[str]] = {}
        self.endpoint = ""

    async def Export(self, request, context):  # noqa: N802  # the contract's name
        for resource in request.resource_spans:
            (name,) = (a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans.setdefault(name, []).extend(s.name for scope in resource.scope_spans for s in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def collector():
    server, collector = grpc.aio.server(), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield collector
    await server.stop(None)


async def test_a_call_s_spans_arrive_at_the_collector_under_their_services_names(workshop, collector):
    settings = SimpleNamespace(otlp_endpoint=collector.endpoint, trace_sample_ratio=1.0, metrics_listen="")
    async with build_telemetry("askmesh-gateway", settings) as telemetry:
        server = await workshop.server(telemetry=telemetry.for_service("askmesh-orchestrator"))
        stub = await workshop.stub(server, telemetry=telemetry)
        await stub.Ask(pb.AskRequest(), timeout=5.0)
        await server.drain()
    name = "rag.orchestrator.v1.OrchestratorService/Ask"
    assert collector.spans == {"askmesh-gateway": [name], "askmesh-orchestrator": [name]}


async def test_nothing_is_sent_when_no_new_trace_is_sampled(workshop, collector):
    settings = SimpleNamespace(otlp_endpoint=collector.endpoint, trace_sample_ratio=0.0, metrics_listen="")
    async with build_telemetry("askmesh-gateway", settings) as telemetry:
        stub = await workshop.stub(await workshop.server(), telemetry=telemetry)
        await stub.Ask(pb.AskRequest(), timeout=5.0)
    assert collector.spans == {}
