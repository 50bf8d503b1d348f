"""Every account against every method, over the wire: what istio/base allows works, everything else is refused.

The callers' sidecars see the whole namespace, so that it is the callee's rules that refuse and not a missing route.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
import pytest_asyncio
from rag.orchestrator.v1 import orchestrator_pb2
from rag.retriever.v1 import collection_pb2, document_pb2, maintenance_pb2, retriever_pb2

from askmesh.rig.fleet import ADDRESSES
from askmesh.rig.mesh import NAMESPACE, Member
from askmesh.rig.mesh_system import TRITON_SERVICE, enlisted
from askmesh.rig.process import Server
from askmesh.rig.sidecars import Workload
from chassis.channel import open_channel
from tests.mesh.conftest import KNOWN_S, System

ACCOUNTS = ("gateway", "orchestrator", "retriever", "client", "ingest", "operator", "stranger")
HEALTH = ("/grpc.health.v1.Health/Check",)
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
ENOUGH_S = 20.0


def methods(module, service):
    found = module.DESCRIPTOR.services_by_name[service]
    return tuple(f"/{found.full_name}/{method.name}" for method in found.methods)


def named(service, names):
    return tuple(f"/{service}/{name}" for name in names.split())


TRITON = "inference.GRPCInferenceService"
INFERENCE = named(TRITON, "ModelInfer ModelStreamInfer ModelReady ModelMetadata ServerLive ServerReady ServerMetadata")
INDEX = f"/{TRITON}/RepositoryIndex"
CONTROL = named(
    TRITON,
    "RepositoryModelLoad RepositoryModelUnload SystemSharedMemoryRegister CudaSharedMemoryUnregister TraceSetting "
    "LogSettings ModelStatistics",
)
ASKS = named("rag.orchestrator.v1.OrchestratorService", "Ask StreamAsk EvictAnswer")
SEARCHES = named("rag.retriever.v1.RetrieverService", "Retrieve GetSnapshot")

DOCUMENTS = methods(document_pb2, "DocumentService")
COLLECTIONS = methods(collection_pb2, "CollectionService")
MAINTENANCE = methods(maintenance_pb2, "MaintenanceService")
ALL = {
    "orchestrator": (*methods(orchestrator_pb2, "OrchestratorService"), *HEALTH, *REFLECTION),
    "retriever": (
        *methods(retriever_pb2, "RetrieverService"), *DOCUMENTS, *COLLECTIONS, *MAINTENANCE, *HEALTH, *REFLECTION,
    ),
    "triton": (*INFERENCE, INDEX, *CONTROL),
}  # fmt: skip
READ_COLLECTIONS = tuple(name for name in COLLECTIONS if not name.endswith("DeleteCollection"))
ALLOWED = {
    ("gateway", "orchestrator"): {*ASKS, *HEALTH},
    ("client", "orchestrator"): {*ASKS, *HEALTH, *REFLECTION},
    ("orchestrator", "retriever"): {*SEARCHES, *HEALTH},
    ("gateway", "retriever"): {*SEARCHES, *HEALTH, *DOCUMENTS, *COLLECTIONS},
    ("ingest", "retriever"): {*DOCUMENTS, *READ_COLLECTIONS},
    ("operator", "retriever"): {*MAINTENANCE, *COLLECTIONS},
    ("orchestrator", "triton"): {*INFERENCE, INDEX},
    ("retriever", "triton"): {*INFERENCE},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def callers(system: System, triton_server: Server, tmp_path_factory) -> AsyncIterator[dict[str, Member]]:
    """A caller for each account; Triton stands beside our services."""
    folder = tmp_path_factory.mktemp("callers")
    async with AsyncExitStack() as stack:
        await system.mesh.kubernetes.apply(TRITON_SERVICE)
        triton = await stack.enter_async_context(enlisted(system.mesh, triton_server, folder / "triton"))
        found = {}
        for account in ACCOUNTS:
            workload = Workload(f"as-{account}", {"app": "caller"}, NAMESPACE, account)
            found[account] = await stack.enter_async_context(system.mesh.sidecar(workload, folder / account))
        callees = [triton, system.orchestrators["v1"].member, system.retrievers["v1"].member]
        async with asyncio.timeout(KNOWN_S):
            for callee in callees:
                for caller in found.values():
                    await system.mesh.until_known(callee, caller)
        yield found


async def ended(channel, method):
    """How a call with an empty message ends: "refused" by the mesh, else by the service's own code."""
    call = channel.unary_stream(method)(b"", timeout=ENOUGH_S)
    try:
        await call.read()
    except grpc.RpcError:
        pass
    else:
        call.cancel()
    code, details = await call.code(), await call.details()
    return "refused" if (code, details) == (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied") else code.name


@pytest.mark.parametrize("service", ALL)
@pytest.mark.parametrize("account", ACCOUNTS)
async def test_an_account_may_call_what_it_is_allowed_and_nothing_else(callers, account, service):
    async with open_channel(ADDRESSES[service], proxy=callers[account].outbound) as channel:
        results = {method: await ended(channel, method) for method in ALL[service]}
    passed = {method for method, result in results.items() if result != "refused"}
    assert passed == ALLOWED.get((account, service), set())
    assert "UNAVAILABLE" not in results.values(), results
