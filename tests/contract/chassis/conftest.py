"""Real servers over real sockets, with a servicer whose behaviour each test writes itself."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc
from rag.retriever.v1 import document_pb2_grpc

from chassis.admission import Admission, Limit
from chassis.auth import LocalAuthenticator
from chassis.channel import open_channel
from chassis.server import RunningServer, ServiceBinding, serve
from chassis.telemetry import Telemetry

ASK_SERVICE = "rag.orchestrator.v1.OrchestratorService"
ASK = f"/{ASK_SERVICE}/Ask"
ROOMY = Limit(concurrency=64, queue=64)


class Asking:
    """An orchestrator whose two methods are what a test makes them."""

    EvictAnswer = rpc.OrchestratorServiceServicer.EvictAnswer  # as generated: not implemented

    def __init__(self, ask=None, stream=None) -> None:
        self._ask = ask
        self._stream = stream

    async def Ask(self, request, context):  # noqa: N802  # the contract's name
        return await self._ask(request)

    async def StreamAsk(self, request, context):  # noqa: N802  # the contract's name
        async for event in self._stream(request):
            yield event


class Ingesting:
    """A document service whose ingest stream is what a test makes it."""

    PutDocument = document_pb2_grpc.DocumentServiceServicer.PutDocument  # the others as generated: not implemented
    GetDocument = document_pb2_grpc.DocumentServiceServicer.GetDocument
    ListDocuments = document_pb2_grpc.DocumentServiceServicer.ListDocuments
    DeleteDocument = document_pb2_grpc.DocumentServiceServicer.DeleteDocument

    def __init__(self, ingest) -> None:
        self._ingest = ingest

    async def IngestDocuments(self, requests, context):  # noqa: N802  # the contract's name
        async for response in self._ingest(requests):
            yield response


async def echo(request) -> pb.AskResponse:
    return pb.AskResponse(text=request.question)


class Workshop:
    """Opens servers and channels, and closes them in reverse at the end of a test."""

    def __init__(self, stack: AsyncExitStack, telemetry: Telemetry, exporter: InMemorySpanExporter) -> None:
        self.telemetry = telemetry
        self.exporter = exporter
        self._stack = stack

    async def server(self, *, ask: Any = echo, stream: Any = None, **options: Any) -> RunningServer:
        binding = ServiceBinding(
            ASK_SERVICE, rpc.add_OrchestratorServiceServicer_to_server, Asking(ask, stream), {"Ask": 4_096}
        )
        return await self.serve(binding, **options)

    async def ingest_server(self, ingest: Any, **options: Any) -> RunningServer:
        add = document_pb2_grpc.add_DocumentServiceServicer_to_server
        return await self.serve(ServiceBinding("rag.retriever.v1.DocumentService", add, Ingesting(ingest)), **options)

    async def serve(self, *bindings: ServiceBinding, **options: Any) -> RunningServer:
        given: dict[str, Any] = {
            "address": "127.0.0.1:0",
            "authenticator": LocalAuthenticator(),
            "admission": Admission(ROOMY),
            "telemetry": self.telemetry,
            "drain_s": 5.0,
        }
        return await self._stack.enter_async_context(serve(bindings=bindings, **(given | options)))

    async def channel(self, server: RunningServer, **options: Any) -> grpc.aio.Channel:
        return await self._stack.enter_async_context(open_channel(server.address, **options))

    async def stub(self, server: RunningServer, **options: Any) -> Any:
        return rpc.OrchestratorServiceStub(await self.channel(server, **options))

    async def plain_channel(self, server: RunningServer) -> grpc.aio.Channel:
        """gRPC's own channel, without our rules: what a caller we did not write uses."""
        return await self._stack.enter_async_context(grpc.aio.insecure_channel(server.address))


@asynccontextmanager
async def no_leaked_tasks():
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    leaked = (await asyncio.wait(left, timeout=1.0))[1] if left else set()  # what was just cancelled may still end
    assert leaked == set()


@pytest.fixture
async def workshop():
    exporter = InMemorySpanExporter()
    telemetry = Telemetry("test", processor=SimpleSpanProcessor(exporter), sampler=ALWAYS_ON)
    async with no_leaked_tasks(), AsyncExitStack() as stack:
        yield Workshop(stack, telemetry, exporter)
