"""The cluster of tests/deploy/autoscaling.py: what runs in it, and the load on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from rag.orchestrator.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from rag.retriever.v1 import document_pb2, document_pb2_grpc, retriever_pb2, retriever_pb2_grpc

from askmesh.rig.keda import running_keda
from askmesh.rig.kubernetes import Kubernetes, running_controllers, running_kubernetes
from askmesh.rig.kwok import running_kwok, running_metrics_server
from askmesh.rig.process import HOST, POLL_S, Server
from askmesh.rig.prometheus import running_prometheus
from askmesh.rig.services import running_service
from tests.deploy.autoscaling import SCRAPE_S, Pace, fake_deployment, sleeping_model
from tests.deploy.documents import DEPLOY
from tests.deploy.scraping import Prometheus, Scraped, scrape_config
from tests.faults.processes import Wire
from tests.rig_servers import rigged

COLLECTION = "docs"
ENOUGH_S = 60.0  # more than what the pace says, for a machine that has other things to do
QUERY = "lease"


@dataclass(frozen=True, slots=True)
class ScaledCluster:
    """Attributes:
    prometheus: May be stopped and started again.
    wire: Between Prometheus and the retriever's metrics; may be cut.
    retriever: Its address; so `orchestrator`, whose model is not there and may sleep.
    """

    pace: Pace
    kubernetes: Kubernetes
    prometheus: Server
    wire: Wire
    retriever: str
    orchestrator: str

    @property
    def numbers(self) -> Prometheus:
        return Prometheus(self.prometheus.url)

    async def until(self, happens: Callable[[], Awaitable[object]], *, shipped_s: float = 0.0) -> None:
        """Return once it says so. TimeoutError: not in what the manifests need for it, and enough on top."""
        async with asyncio.timeout(shipped_s / self.pace.factor + ENOUGH_S):
            while not await happens():  # noqa: ASYNC110  # the API could be watched; Prometheus could not
                await asyncio.sleep(POLL_S)

    async def ask(self) -> orchestrator_pb2.AskResponse:
        """One question; the model is asked for, and is not there."""
        async with grpc.aio.insecure_channel(self.orchestrator) as channel:
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
            request = orchestrator_pb2.AskRequest(collection=COLLECTION, question="How long does a lease last?")
            return await stub.Ask(request, timeout=ENOUGH_S)

    @asynccontextmanager
    async def loaded(self, per_second: float) -> AsyncIterator[None]:
        """Retrievals at this rate, until the end of the block: the cheapest kind, since only their number counts."""
        over = asyncio.Event()
        async with grpc.aio.insecure_channel(self.retriever) as channel, asyncio.TaskGroup() as group:
            group.create_task(_retrieve(retriever_pb2_grpc.RetrieverServiceStub(channel), per_second, over))
            try:
                yield
            finally:
                over.set()


@asynccontextmanager
async def running_scaled_cluster(folder: Path, pace: Pace) -> AsyncIterator[ScaledCluster]:
    """All of it; workloads are there and nothing scales them yet."""
    async with AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(rigged(lambda: running_kubernetes(folder / "kubernetes")))
        for start in (
            lambda: running_controllers(kubernetes, folder / "controllers", autoscaler_period_s=pace.seconds(SCRAPE_S)),
            lambda: running_kwok(kubernetes, folder / "kwok"),
            lambda: running_metrics_server(kubernetes, folder / "metrics-server"),
            lambda: running_keda(kubernetes, folder / "keda"),
        ):
            await stack.enter_async_context(rigged(start))
        retriever, orchestrator = await _services(stack, folder)
        wire = await stack.enter_async_context(Wire(retriever.ports["metrics"]).relaying())
        looked_at = [
            Scraped("retriever", "stable", _address(retriever), wire.port),
            Scraped("orchestrator", "stable", _address(orchestrator), orchestrator.ports["metrics"]),
        ]
        config = scrape_config(looked_at, every=f"{pace.seconds(SCRAPE_S)}s")
        prometheus = await stack.enter_async_context(rigged(lambda: running_prometheus(folder / "prometheus", config)))
        await _furnish(kubernetes)
        yield ScaledCluster(pace, kubernetes, prometheus, wire, _address(retriever), _address(orchestrator))


async def _services(stack: AsyncExitStack, folder: Path) -> tuple[Server, Server]:
    """A retriever with a document, and an orchestrator on a model that may sleep."""
    settings = {"ASKMESH_RETRIEVER_DATA_FOLDER": str(folder / "data"), "ASKMESH_RETRIEVER_EMBEDDER": "none"}
    settings["ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS"] = "5000"  # calls are counted here, not timed
    retriever = await stack.enter_async_context(
        running_service("retriever", folder / "retriever", environment=settings)
    )
    async with grpc.aio.insecure_channel(_address(retriever)) as channel:
        document = document_pb2.DocumentInput(document_id="a.md", text="# Leases\n\nA lease lasts 30 seconds.\n")
        request = document_pb2.PutDocumentRequest(collection=COLLECTION, document=document)
        await document_pb2_grpc.DocumentServiceStub(channel).PutDocument(request, timeout=ENOUGH_S)
    prefix = "ASKMESH_ORCHESTRATOR_"
    settings = {f"{prefix}GENERATOR": "triton", f"{prefix}TRITON_ADDRESS": f"{HOST}:1"}
    settings |= {f"{prefix}TRITON_SCALES_TO_ZERO": "true", f"{prefix}RETRIEVER_ADDRESS": _address(retriever)}
    settings[f"{prefix}RETRIEVE_TIMEOUT_MS"] = "5000"
    started = running_service("orchestrator", folder / "orchestrator", environment=settings)
    return retriever, await stack.enter_async_context(started)


async def _furnish(kubernetes: Kubernetes) -> None:
    """What our workloads name, and the workloads; KServe, which would make the model's, is not here."""
    base = DEPLOY / "base"
    await kubernetes.apply(base / "namespace-rag.yaml", base / "priorityclass-serving.yaml")
    await kubernetes.apply(*(base / f"configmap-{name}.yaml" for name in ("askmesh", "retriever", "orchestrator")))
    # Each asks for one processor: retrievers use a tenth of it, and orchestrators twice the cpu trigger's share.
    pods = fake_deployment("retriever", "100m"), fake_deployment("orchestrator", "1400m")
    await kubernetes.apply(*pods, sleeping_model())


async def _retrieve(stub: retriever_pb2_grpc.RetrieverServiceAsyncStub, per_second: float, over: asyncio.Event) -> None:
    """Open loop: a call begins when its time has come."""
    request = retriever_pb2.RetrieveRequest(collection=COLLECTION, query=QUERY, legs=retriever_pb2.LEGS_LEXICAL)
    began = time.monotonic()
    made = 0
    async with asyncio.TaskGroup() as calls:
        while not over.is_set():
            calls.create_task(_call(stub, request))
            made += 1
            await asyncio.sleep(max(0.0, began + made / per_second - time.monotonic()))


async def _call(stub: retriever_pb2_grpc.RetrieverServiceAsyncStub, request: retriever_pb2.RetrieveRequest) -> None:
    """What a busy machine refuses is counted by the server like what it answers."""
    try:
        await stub.Retrieve(request, timeout=ENOUGH_S)
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
            raise


def _address(server: Server) -> str:
    return f"{server.host}:{server.port}"
