"""A retriever over a socket that says what a test tells it to, and an orchestrator that asks it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc
from rag.retriever.v1 import retriever_pb2 as rpb
from rag.retriever.v1 import retriever_pb2_grpc as rrpc

from chassis.admission import Admission, Limit
from chassis.auth import LocalAuthenticator
from chassis.channel import open_channel
from chassis.server import ServiceBinding, serve
from chassis.settings import load
from chassis.telemetry import Telemetry
from orchestrator.app import build
from orchestrator.settings import OrchestratorSettings
from orchestrator.types import FinishReason, GenerationEnd, ModelInfo, TextPiece

TEXT = "The lease lasts 30 seconds. A purger removes dead versions."


def passage(text=TEXT, document_id="guide.md"):
    return rpb.Passage(
        chunk_id="7.1",
        text=text,
        document_id=document_id,
        title="Guide",
        section="Leases",
        start_char=100,
        end_char=100 + len(text),
        score=0.9,
        dense=rpb.LegScore(rank=1, score=0.8),
        lexical=rpb.LegScore(rank=1, score=9.0),
    )


@dataclass
class ScriptedRetriever(rrpc.RetrieverServiceServicer):
    """`error` is raised by both methods; `delay_s` is waited by Retrieve."""

    generation: int = 7
    passages: list[rpb.Passage] = field(default_factory=lambda: [passage()])
    degraded: list[rpb.Degradation] = field(default_factory=list)
    error: Exception | None = None
    delay_s: float = 0.0
    requests: list[rpb.RetrieveRequest] = field(default_factory=list)
    metadata: list[dict[str, object]] = field(default_factory=list)

    def _snapshot(self):
        return rpb.Snapshot(
            collection_uid="uid-1", generation=self.generation, retrieval_fingerprint="r@1", embedder_fingerprint="e@1"
        )

    async def GetSnapshot(self, request, context):  # noqa: N802  # the contract's name
        if self.error is not None:
            raise self.error
        return self._snapshot()

    async def Retrieve(self, request, context):  # noqa: N802  # the contract's name
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.error is not None:
            raise self.error
        await asyncio.sleep(self.delay_s)
        return rpb.RetrieveResponse(passages=self.passages, snapshot=self._snapshot(), degraded=self.degraded)


COUNTING = ModelInfo("counting", "counting@1", price_per_million_completion_tokens=2.0)


@dataclass
class CountingGenerator:
    """Says "word " for ever, or `limit` times with a citation at the end; counts what it said and how it was left."""

    limit: int | None = None
    gap_s: float = 0.005
    said: int = 0
    started: int = 0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    model: ModelInfo = COUNTING

    async def generate(self, prompt, sampling, *, budget):
        self.started += 1
        try:
            while self.limit is None or self.said < self.limit:
                await asyncio.sleep(self.gap_s)
                self.said += 1
                self.has_begun.set()
                yield TextPiece("word ")
            yield TextPiece("lease lasts 30 seconds [1].")
            yield GenerationEnd(FinishReason.STOP, 100, self.said)
        finally:
            self.stopped.set()


@dataclass
class Rig:
    retriever: ScriptedRetriever
    generator: CountingGenerator | None
    telemetry: Telemetry
    stub: Any  # grpc's stubs have two shapes, one of which mypy picks
    channel: object
    running: object


@asynccontextmanager
async def rig(tmp_path, *, generator=None, authenticator=None, telemetry=None, **settings):
    """An orchestrator over a unix socket and its scripted retriever over another."""
    telemetry = telemetry or Telemetry("test")
    retriever = ScriptedRetriever()
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(
            serve(
                address=f"unix:{tmp_path}/r.sock",
                bindings=[
                    ServiceBinding(
                        "rag.retriever.v1.RetrieverService", rrpc.add_RetrieverServiceServicer_to_server, retriever
                    )
                ],
                authenticator=authenticator or LocalAuthenticator(),
                admission=Admission(Limit(64, 64)),
                telemetry=telemetry.for_service("retriever"),
                drain_s=0.5,
            )
        )
        chosen = load(
            OrchestratorSettings,
            listen=f"unix:{tmp_path}/o.sock",
            retriever_address=served.address,
            embedder="none",
            drain_s=0.5,
            **settings,
        )
        running = await stack.enter_async_context(build(chosen, telemetry=telemetry, generator=generator))
        channel = open_channel(running.address)
        stack.push_async_callback(channel.close)
        yield Rig(retriever, generator, telemetry, rpc.OrchestratorServiceStub(channel), channel, running)
