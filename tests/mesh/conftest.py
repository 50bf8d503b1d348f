"""One mesh with our services in it, for all tests here: the manifests of a cluster, a stock Envoy beside each process.

    client, stranger -> gateway -> orchestrator v1, v2 -> retriever v1, v2

The retrievers hold the same documents: copies of one folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

import retriever.app
from askmesh.client import AsyncClient
from askmesh.documents import DocumentFile
from askmesh.rig.fleet import Fleet, Replica, running_fleet
from askmesh.rig.mesh import NAMESPACE, Member, Mesh, running_mesh
from askmesh.rig.mesh_config import installed
from askmesh.rig.mesh_system import MANIFESTS
from askmesh.rig.sidecars import Workload
from chassis.settings import load
from chassis.telemetry import Telemetry
from retriever.settings import RetrieverSettings
from tests.rig_servers import rigged

LEASE = DocumentFile("lease.md", "# Leases\n\nA lease lasts 30 seconds. The purger removes dead versions.")
# What is tested is where a call goes; a machine that runs all of this at once is slow.
PATIENCE = {
    "ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS": "4000",
    "ASKMESH_ORCHESTRATOR_RETRIEVE_TIMEOUT_MS": "5000",
    "ASKMESH_LOG_LEVEL": "warning",
}


KNOWN_S = 60  # .1 s in quiet
MESH_S = 600  # the first test waits for some fifteen processes; 30 s in quiet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The suite's time limit holds for a test with all that its fixtures start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(MESH_S))


@dataclass(frozen=True, slots=True)
class System:
    """The services of the mesh.

    Attributes:
        client: May ask; see istio/base/authorizationpolicy-*.yaml.
        stranger: Has an account that no policy names.
    """

    mesh: Mesh
    fleet: Fleet
    data: Path
    orchestrators: dict[str, Replica]
    retrievers: dict[str, Replica]
    gateway: Replica
    client: Member
    stranger: Member


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """With everything a cluster on a laptop has (deploy/overlays/kind, istio/base in it), and no workloads."""
    folder = tmp_path_factory.mktemp("mesh")
    async with rigged(lambda: running_mesh(folder, config=installed())) as made:
        await made.kubernetes.kubectl("apply", "--server-side", "--validate=strict", "-k", str(MANIFESTS))
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    data = await stored(folder / "data")
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(running_fleet(mesh, folder))
        client = await stack.enter_async_context(mesh.sidecar(caller("client"), folder / "client"))
        stranger = await stack.enter_async_context(mesh.sidecar(caller("stranger"), folder / "stranger"))
        async with asyncio.TaskGroup() as group:
            retrievers = {v: group.create_task(retriever_of(fleet, data, v)) for v in ("v1", "v2")}
            orchestrators = {
                v: group.create_task(fleet.start("orchestrator", version=v, environment=PATIENCE)) for v in ("v1", "v2")
            }
            gateway = group.create_task(fleet.start("gateway", environment=PATIENCE))
        made = System(
            mesh=mesh,
            fleet=fleet,
            data=data,
            orchestrators={version: task.result() for version, task in orchestrators.items()},
            retrievers={version: task.result() for version, task in retrievers.items()},
            gateway=gateway.result(),
            client=client,
            stranger=stranger,
        )
        await until_all_know(made)
        yield made


async def until_all_know(system: System) -> None:
    """Each sidecar has the endpoints it may call."""
    entries = [system.client, system.stranger, system.gateway.member]
    pairs = [(replica.member, caller) for replica in system.orchestrators.values() for caller in entries]
    pairs += [(one.member, two.member) for one in system.retrievers.values() for two in system.orchestrators.values()]
    async with asyncio.timeout(KNOWN_S):
        for member, caller in [*pairs, (system.gateway.member, system.client)]:
            await system.mesh.until_known(member, caller)


async def retriever_of(fleet: Fleet, data: Path, version: str, **environment: str) -> Replica:
    """A retriever with its own copy of the documents."""
    copy = data.with_name(f"data-{version}-{len(list(data.parent.iterdir()))}")
    await asyncio.to_thread(shutil.copytree, data, copy)
    settings = PATIENCE | {"ASKMESH_RETRIEVER_DATA_FOLDER": str(copy)} | environment
    return await fleet.start("retriever", version=version, environment=settings)


async def stored(folder: Path, document: DocumentFile = LEASE) -> Path:
    """A retriever's data folder with one document in its collection "docs"."""
    settings = load(RetrieverSettings, listen="127.0.0.1:0", data_folder=folder, drain_s=0.2)
    async with (
        retriever.app.build(settings, telemetry=Telemetry("test")) as running,
        AsyncClient(running.address, collection="docs") as client,
    ):
        assert [result.outcome async for result in client.ingest([document])] == ["STORED"]
    return folder


def caller(account: str) -> Workload:
    """A workload that only calls."""
    return Workload(f"{account}-0", {"app": account}, NAMESPACE, account)
