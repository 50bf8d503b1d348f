"""Three retrievers that a test makes fail, an orchestrator that asks them and nobody else, and the account of a load.

They are set as deploy/ sets them (its ConfigMaps; cache and mirror in Redis), but that the stores behind the retrievers
are embedded ones. Beside other work they get more time than a cluster gives them (tests.mesh.conftest.PATIENCE).
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from askmesh.rig.fleet import Replica
from askmesh.rig.mesh_system import environment_of
from askmesh.rig.process import POLL_S, Server
from chassis.channel import open_channel
from tests.faults.processes import IS_CAMPAIGN
from tests.mesh.calls import hedged, served, told
from tests.mesh.conftest import KNOWN_S, PATIENCE, System
from tests.mesh.failing import faults
from tests.mesh.load import Asked, ask, under_load

PER_SECOND = 20
SECRET = "shared by every replica here"
CALLS = ("Retrieve", "GetSnapshot")
OPEN = 'askmesh_breaker_open{breaker="retriever"} 1.0'


@dataclass(frozen=True, slots=True)
class Trio:
    """See the module.

    Attributes:
        late: A fourth retriever, in no Service, whose time is so short that it can only answer UNAVAILABLE.
    """

    system: System
    retrievers: list[Replica]
    orchestrator: Replica
    late: Replica

    @property
    def others_too(self) -> list[Replica]:
        """Every replica of the mesh that runs."""
        return [replica for replica in self.system.fleet.replicas if replica.service.is_running]

    async def healed(self) -> None:
        """As if none had ever failed."""
        await faults.fail(self.retrievers, 0)
        await faults.relisted(self.system.mesh, self.retrievers, self.orchestrator.member)

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[Any]:
        """Of an orchestrator that answers, by its own port: what fails is the hop behind it."""
        service = self.orchestrator.service
        async with open_channel(f"{service.host}:{service.port}") as channel:
            stub = rpc.OrchestratorServiceStub(channel)
            async with asyncio.timeout(KNOWN_S):
                while (await ask(stub)).error:  # noqa: ASYNC110  # a breaker that closes is no event
                    await asyncio.sleep(POLL_S)
            yield stub

    def called(self) -> int:
        """Calls that the orchestrator itself has made; each may be tried again by its sidecar."""
        counter = "grpc_client_handled_total"
        return sum(served(self.orchestrator, method, counter=counter) for method in CALLS)

    @property
    def is_given_up(self) -> bool:
        """The orchestrator's breaker is open."""
        return OPEN in told(self.orchestrator)

    async def asked(self, stub: Any, count: int, *, per_second: float = PER_SECOND) -> Account:
        """So many asks at a steady rate, and what became of them."""
        before = await self._counted()
        async with under_load(lambda: ask(stub), per_second) as load:
            await load.until_ended(count)
        return await self._account_since(before, load.ended)

    async def asked_until_given_up(self, stub: Any) -> Account:
        """Asks at a steady rate until the breaker opens."""
        before = await self._counted()
        async with asyncio.timeout(KNOWN_S), under_load(lambda: ask(stub), PER_SECOND) as load:
            await load.until(lambda: self.is_given_up)
        return await self._account_since(before, load.ended)

    async def _account_since(self, before: tuple[int, ...], ended: list[Asked]) -> Account:
        calls, hedges, aborted, *tries = (now - was for now, was in zip(await self._counted(), before, strict=True))
        return Account(ended, calls, hedges, aborted, tries)

    async def _counted(self) -> tuple[int, ...]:
        own = self.called(), hedged(self.orchestrator), await faults.aborted(self.retrievers)
        return *own, *[await faults.attempts([each]) for each in self.retrievers]


@dataclass(frozen=True, slots=True)
class Account:
    """What askers got, and what it cost.

    Attributes:
        calls: The orchestrator's own, `hedged` ones among them: those have no second try.
        aborted: Attempts that failed.
        tries: Attempts that arrived at each retriever's sidecar.
    """

    asked: list[Asked]
    calls: int
    hedged: int
    aborted: int
    tries: list[int]

    @property
    def refused(self) -> list[Asked]:
        return [each for each in self.asked if each.error is not None]

    @property
    def per_call(self) -> float:
        return sum(self.tries) / self.calls

    @property
    def per_ask(self) -> float:
        return sum(self.tries) / len(self.asked)

    @property
    def took_ms(self) -> list[float]:
        """Shortest first."""
        return sorted(each.took_ms for each in self.asked)

    def __str__(self) -> str:
        codes = Counter(each.error.reason if each.error else "OK" for each in self.asked)
        took_ms = self.took_ms
        return (
            f"{dict(codes)}; {self.calls} calls ({self.hedged} hedged), {self.tries} attempts, "
            f"{self.aborted} of them failed, {self.per_call:.3f} per call; "
            f"p50 {took_ms[len(took_ms) // 2]:.0f} ms, longest {took_ms[-1]:.0f} ms"
        )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def processes(system: System, redis_server: Server, tmp_path_factory) -> Trio:
    """Started once, in no Service; they end with the fleet."""
    folder = tmp_path_factory.mktemp("trio")
    prefix = "ASKMESH_ORCHESTRATOR_"
    stores = {f"{prefix}REDIS_URL": redis_server.url, f"{prefix}REDIS_SECRET": SECRET}
    async with asyncio.TaskGroup() as tasks:
        retrievers = [tasks.create_task(_retriever(system, folder / str(number), stores)) for number in range(3)]
        orchestrator = tasks.create_task(_started(system, "orchestrator", stores))
        late = tasks.create_task(_retriever(system, folder / "late", stores, RETRIEVAL_TIMEOUT_MS="1"))
    return Trio(system, [task.result() for task in retrievers], orchestrator.result(), late.result())


async def _retriever(system: System, data: Path, stores: Mapping[str, str], **settings: str) -> Replica:
    await asyncio.to_thread(shutil.copytree, system.data, data)
    own = {"SEARCH": "embedded", "DATA_FOLDER": str(data), **settings}
    return await _started(system, "retriever", stores, **own)


async def _started(system: System, role: str, stores: Mapping[str, str], **settings: str) -> Replica:
    deployed = await environment_of(system.mesh, role, stores)
    own = {f"ASKMESH_{role.upper()}_{name}": value for name, value in settings.items()}
    patience = {"ASKMESH_LOG_LEVEL": "warning"} if IS_CAMPAIGN else PATIENCE
    return await system.fleet.start(role, environment={**deployed, **patience, **own}, is_listed=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trio(processes: Trio) -> AsyncIterator[Trio]:
    """The only retrievers of their Service while a module's tests run, and every workload can be made to fail."""
    system = processes.system
    async with AsyncExitStack() as stack:
        members = [replica.member for replica in processes.others_too]
        await stack.enter_async_context(faults.armed(system.mesh, members))
        await stack.enter_async_context(_in_its_place(processes))
        yield processes


@asynccontextmanager
async def _in_its_place(trio: Trio) -> AsyncIterator[None]:
    mesh, usual, caller = trio.system.mesh, trio.system.retrievers["v1"].member, trio.orchestrator.member
    await mesh.withdraw(usual)
    for replica in trio.retrievers:
        await mesh.enlist(replica.member)
    async with asyncio.timeout(KNOWN_S):
        await mesh.until_forgotten(usual, caller)
        for replica in trio.retrievers:
            await mesh.until_known(replica.member, caller)
    yield
    for replica in trio.retrievers:
        await mesh.withdraw(replica.member)
    await mesh.enlist(usual)
    async with asyncio.timeout(KNOWN_S):
        for orchestrator in trio.system.orchestrators.values():
            await mesh.until_known(usual, orchestrator.member)
