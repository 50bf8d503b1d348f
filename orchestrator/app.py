"""The orchestrator's composition root: reads top to bottom, closes bottom to top."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc

from chassis import logs
from chassis.admission import Admission
from chassis.auth import Authenticator
from chassis.breaker import OPTIONAL, Breaker, Thresholds
from chassis.channel import open_channel
from chassis.composition import build_admission, build_authenticator
from chassis.errors import EmbedderUnavailable, RetrieverUnavailable
from chassis.guarded_mirror import GuardedMirrorStore
from chassis.lifecycle import run
from chassis.mirror import Mirror, MirrorUnavailable
from chassis.sealed_mirror import SealedMirrorStore
from chassis.server import RunningServer, ServiceBinding, serve
from chassis.settings import load
from chassis.telemetry import Telemetry, build_telemetry
from embedding.models import ensure_model
from embedding.opening import open_remote
from embedding.ports import Embedder
from orchestrator.assembly import Leaves, assemble, processors
from orchestrator.cache.opening import open_cache
from orchestrator.generation.extractive import ExtractiveGenerator
from orchestrator.generation.gated import GatedGenerator
from orchestrator.generation.opening import open_generator
from orchestrator.metrics import HEDGED, MIRROR_REJECTED
from orchestrator.observed import MeteredGenerator, ObservedAsks
from orchestrator.pipeline import AskPipeline
from orchestrator.ports import Generator, Retriever, SnapshotSource, TokenCounter
from orchestrator.relay.opening import open_relay
from orchestrator.retrieval.grpc import GrpcRetriever
from orchestrator.retrieval.guarded import MIN_CALLS, GuardedRetriever
from orchestrator.retrieval.hedged import HedgedRetriever
from orchestrator.retrieval.mirrored import MirroredSnapshots
from orchestrator.retrieval.observed import ObservedRetriever
from orchestrator.service import OrchestratorServicer, binding
from orchestrator.settings import OrchestratorSettings
from orchestrator.shared import SharedRedis, open_shared
from orchestrator.tokens import EstimatedTokenCounter, FileTokenCounter
from orchestrator.types import Sampling

SERVICE_NAME = "askmesh-orchestrator"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningOrchestrator:
    """An orchestrator that serves.

    Attributes:
        address: What a channel dials.
        bindings: The same servicers, for a second server of the same process.
    """

    address: str
    bindings: Sequence[ServiceBinding]
    authenticator: Authenticator
    admission: Admission
    server: RunningServer
    pipeline: AskPipeline

    async def drain(self) -> None:
        """Take no new calls, let the open ones end."""
        await self.server.drain()


@asynccontextmanager
async def build(
    settings: OrchestratorSettings,
    *,
    embedder: Embedder | None = None,
    telemetry: Telemetry | None = None,
    generator: Generator | None = None,
) -> AsyncIterator[RunningOrchestrator]:
    """Open everything the settings name; serving when entered, drained when left.

    Args:
        settings: From `chassis.settings.load`.
        embedder: Shared with the retriever of the same process; None opens what the settings say.
        telemetry: Shared in one process; then logging and the metrics port are the caller's too.
        generator: Instead of the one the settings name.
    Raises:
        SettingsInvalid: a choice that this installation does not have.  PortInUse: the address is taken.
    """
    async with AsyncExitStack() as stack:
        if telemetry is None:
            logs.configure(SERVICE_NAME, level=settings.log_level, format=settings.log_format)
            telemetry = await stack.enter_async_context(build_telemetry(SERVICE_NAME, settings))
        if embedder is None:
            embedder = await _open_embedder(settings, stack, telemetry)
        counter = _counter(settings)
        channel = open_channel(settings.retriever_address, telemetry=telemetry, proxy=settings.outbound_proxy)
        stack.push_async_callback(channel.close)
        channel.get_state(try_to_connect=True)  # the first ask should not pay for connecting out of its timebox
        extractive = GatedGenerator(ExtractiveGenerator(embedder), processors())
        fallback = MeteredGenerator(extractive, counter, telemetry)
        chosen = generator or open_generator(settings, telemetry, stack)
        model = MeteredGenerator(chosen, counter, telemetry) if chosen is not None else fallback
        shared = open_shared(settings, stack)
        source, retriever = _retriever(settings, channel, telemetry)
        snapshots = source if settings.mirror == "off" else _mirrored(source, shared, telemetry)
        cache = open_cache(settings, telemetry, shared)
        relay = open_relay(settings, telemetry, shared)
        leaves = Leaves(snapshots, retriever, embedder, model, fallback, cache, counter, relay)
        pipeline = assemble(settings, leaves)
        stack.push_async_callback(pipeline.closed)
        bindings = (_bound(settings, pipeline, telemetry),)
        authenticator = await stack.enter_async_context(build_authenticator(settings))
        admission = build_admission(settings)
        server = await stack.enter_async_context(
            serve(
                address=settings.listen,
                bindings=bindings,
                authenticator=authenticator,
                admission=admission,
                telemetry=telemetry,
                drain_s=settings.drain_s,
                is_public=settings.public,
            )
        )
        yield RunningOrchestrator(server.address, bindings, authenticator, admission, server, pipeline)


def _bound(settings: OrchestratorSettings, pipeline: AskPipeline, telemetry: Telemetry) -> ServiceBinding:
    """The pipeline, observed, as a server takes it."""
    defaults = Sampling(settings.default_max_tokens, settings.default_temperature)
    return binding(OrchestratorServicer(ObservedAsks(pipeline, telemetry), defaults))


def _retriever(
    settings: OrchestratorSettings, channel: grpc.aio.Channel, telemetry: Telemetry
) -> tuple[GuardedRetriever, Retriever]:
    """The retriever behind its breaker, for snapshots; and hedged and traced, for passages."""
    thresholds = Thresholds(min_calls=MIN_CALLS)
    breaker = Breaker("retriever", error=RetrieverUnavailable, thresholds=thresholds, telemetry=telemetry)
    guarded = GuardedRetriever(GrpcRetriever(channel), breaker)
    hedged = HedgedRetriever(
        guarded,
        GrpcRetriever(channel, is_hedge=True),
        endpoints=settings.retriever_endpoints,
        clock=time.monotonic,
        on_hedge=telemetry.counter(HEDGED).inc,
    )
    return guarded, ObservedRetriever(hedged, telemetry)


def _mirrored(source: GuardedRetriever, shared: SharedRedis | None, telemetry: Telemetry) -> SnapshotSource:
    """Snapshots from the mirror first."""
    from chassis.redis_mirror import RedisMirrorStore  # noqa: PLC0415  # with askmesh[cluster] only

    assert shared is not None, "opened for whoever says redis"
    telemetry.declare(MIRROR_REJECTED)
    sealed = SealedMirrorStore(
        RedisMirrorStore(shared.client), shared.secret, on_rejected=telemetry.counter(MIRROR_REJECTED).inc
    )
    breaker = Breaker("snapshot mirror", error=MirrorUnavailable, thresholds=OPTIONAL, telemetry=telemetry)
    return MirroredSnapshots(source, Mirror(GuardedMirrorStore(sealed, breaker)), telemetry)


async def _open_embedder(
    settings: OrchestratorSettings, stack: AsyncExitStack, telemetry: Telemetry
) -> Embedder | None:
    try:
        match settings.embedder:
            case "none":
                return None
            case "onnx":
                # Imported here: without an embedder the process need not load ONNX Runtime.
                from embedding.onnx import OnnxEmbedder  # noqa: PLC0415

                files = await ensure_model(settings.embedder_precision)
                return await stack.enter_async_context(OnnxEmbedder.opened(files, settings.embedder_precision))
            case "triton":
                return await stack.enter_async_context(
                    open_remote(settings.embedder_address, telemetry, proxy=settings.outbound_proxy)
                )
    except EmbedderUnavailable as error:
        _log.warning("no embedder: no semantic cache", extra={"reason": error.reason})
        return None


def _counter(settings: OrchestratorSettings) -> TokenCounter:
    return FileTokenCounter(settings.tokenizer_file) if settings.tokenizer_file else EstimatedTokenCounter()


def main() -> int:
    """`python -m orchestrator.app`: serve until SIGTERM."""
    return run(lambda: build(load(OrchestratorSettings)))


if __name__ == "__main__":
    sys.exit(main())
