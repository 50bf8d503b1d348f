"""Services for releases under load: two versions whose answers tell which version made them.

    client -> gateway -> orchestrator v1, v2 -> retriever v1 (two), v2

An orchestrator's model says the orchestrator's version, a retriever's only document is named after the retriever's. The
model is a slow one that a test can hold, so that streams are open for as long as a test needs them.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from askmesh.documents import DocumentFile
from askmesh.rig.fleet import PORTS, PRESTOP_S, Replica
from askmesh.rig.mesh import Member
from askmesh.rig.part import ROOT
from tests.faults.processes import IS_CAMPAIGN
from tests.mesh.conftest import KNOWN_S, PATIENCE, System, stored, until_all_know
from tests.mesh.paced_model import PacedModel, paced_model

WORDS = 12  # of a stream that nobody holds: 3 s
TEXT = "# Leases\n\nA lease lasts 30 seconds. The purger removes dead versions."
MODEL = {
    "ASKMESH_ORCHESTRATOR_GENERATOR": "openai",
    # A stream that is held must not reach its own limit.
    "ASKMESH_ORCHESTRATOR_GENERATION_TIMEOUT_MS": "100000",
}
NUMBERS = ("_DRAIN_S", *(("_MAX_RETRIEVALS", "_RETRIEVER_ENDPOINTS", "_TIMEOUT_MS") if IS_CAMPAIGN else ()))
RETRIES = ROOT / "istio" / "base" / "virtualservice-retriever.yaml"


def scaled(policy: str) -> str:
    """The policy with a try in the mesh as long as PATIENCE makes the timeboxes around it; as it is in a campaign."""
    assert "perTryTimeout: 200ms" in policy
    return policy if IS_CAMPAIGN else policy.replace("perTryTimeout: 200ms", "perTryTimeout: 4s")


@dataclass(frozen=True, slots=True)
class Stage:
    """The services of the mesh while a test releases.

    Attributes:
        settings: By role.
        prestop_s: How long a pod goes on as before once its end has begun.
        replicas: That are there now, by role and version.
    """

    system: System
    model: PacedModel
    folder: Path
    data: dict[str, Path]
    settings: dict[str, dict[str, str]]
    prestop_s: float
    replicas: dict[tuple[str, str], list[Replica]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def start(self, role: str, version: str = "v1") -> Replica:
        """One more, ready, and an endpoint that everybody knows who may call it."""
        replica = await self._started(role, version)
        self.replicas.setdefault((role, version), []).append(replica)
        await self.until_known(replica)
        return replica

    async def stop(self, replica: Replica) -> None:
        """End it as its pod would be."""
        self._of(replica).remove(replica)
        await replica.stop(prestop_s=self.prestop_s)

    async def until_known(self, replica: Replica) -> None:
        async with asyncio.timeout(KNOWN_S):
            for caller in self._callers(replica.member.workload.labels["app"]):
                await self.system.mesh.until_known(replica.member, caller)

    def members(self, role: str) -> list[Member]:
        return [each.member for (found, _), several in self.replicas.items() if found == role for each in several]

    def drawers(self) -> list[Member]:
        """Sidecars that draw the variant: of the callers of the orchestrators."""
        return self._callers("orchestrator")

    def _callers(self, role: str) -> list[Member]:
        match role:
            case "gateway":
                return [self.system.client]
            case "orchestrator":
                return [self.system.client, *self.members("gateway")]
            case _:
                return self.members("orchestrator")

    async def _copy(self, version: str) -> Path:
        """Of the version's documents, for one retriever."""
        copy = self.folder / f"{version}-{next(self._numbers)}"
        await asyncio.to_thread(shutil.copytree, self.data[version], copy)
        return copy

    def _of(self, replica: Replica) -> list[Replica]:
        labels = replica.member.workload.labels
        return self.replicas[labels["app"], labels["version"]]

    async def _started(self, role: str, version: str) -> Replica:
        settings = dict(self.settings[role])
        if role == "retriever":
            settings["ASKMESH_RETRIEVER_DATA_FOLDER"] = str(await self._copy(version))
        if role == "orchestrator":
            prefix = "ASKMESH_ORCHESTRATOR_"
            settings |= MODEL
            settings |= {f"{prefix}LLM_URL": self.model.base_url, f"{prefix}MODEL_NAME": f"paced-{version}"}
        return await self.system.fleet.start(role, version=version, environment=settings)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Started once; they end with the fleet."""
    folder = tmp_path_factory.mktemp("stage")
    data = {v: await stored(folder / f"{v}s" / "data", DocumentFile(f"{v}.md", TEXT)) for v in ("v1", "v2")}
    async with paced_model(WORDS) as model:
        settings = {role: await _settings(system, role) for role in PORTS}
        made = Stage(system, model, folder, data, settings, await _prestop_s(system))
        async with asyncio.TaskGroup() as group:
            roles = [("retriever", "v1"), ("retriever", "v1"), ("retriever", "v2"), ("gateway", "v1")]
            for role, version in [*roles, ("orchestrator", "v1"), ("orchestrator", "v2")]:
                group.create_task(made.start(role, version))
        for several in made.replicas.values():
            for replica in several:
                await system.mesh.withdraw(replica.member)
        yield made


async def _settings(system: System, role: str) -> dict[str, str]:
    """The numbers that deploy/base gives it; in `make test` only the drain, and times that a busy machine keeps too."""
    client = system.mesh.kubernetes.client
    maps = [await client.get(f"/api/v1/namespaces/rag/configmaps/{name}") for name in ("askmesh", role)]
    found = {name: value for each in maps for name, value in each["data"].items() if name.endswith(NUMBERS)}
    return found | ({} if IS_CAMPAIGN else PATIENCE)


async def _prestop_s(system: System) -> float:
    """The hook's of deploy/base, which a test within `make test` has no time for."""
    deployment = await system.mesh.kubernetes.client.get("/apis/apps/v1/namespaces/rag/deployments/gateway")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return float(container["lifecycle"]["preStop"]["sleep"]["seconds"]) if IS_CAMPAIGN else PRESTOP_S


@pytest_asyncio.fixture(loop_scope="session")
async def stage(services: Stage) -> AsyncIterator[Stage]:
    """These services, and none of the system's own, are the mesh's while a test runs."""
    system = services.system
    others = [*system.orchestrators.values(), *system.retrievers.values(), system.gateway]
    async with _in_their_place(services, others):
        yield services


@asynccontextmanager
async def _in_their_place(services: Stage, others: list[Replica]) -> AsyncIterator[None]:
    mesh = services.system.mesh
    ours = [replica for several in services.replicas.values() for replica in several]
    for replica in ours:
        await mesh.enlist(replica.member)
    for replica in ours:
        await services.until_known(replica)
    for replica in others:
        await mesh.withdraw(replica.member)
    for replica in others:
        await _until_forgotten(services, replica)
    await mesh.kubernetes.apply(scaled(RETRIES.read_text()))
    try:
        yield
    finally:
        await mesh.kubernetes.apply(RETRIES)
        for replica in others:
            await mesh.enlist(replica.member)
        for several in services.replicas.values():
            for replica in several:
                await mesh.withdraw(replica.member)
        await until_all_know(services.system)


async def _until_forgotten(services: Stage, replica: Replica) -> None:
    async with asyncio.timeout(KNOWN_S):
        for caller in services.drawers() + services.members("orchestrator"):
            await services.system.mesh.until_forgotten(replica.member, caller)
