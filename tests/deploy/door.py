"""Calls that go where Istio's objects send them, in the place of proxies: the objects are read from the API, as Argo
Rollouts leaves them, and pods are found by their labels. tests/mesh shows that Envoys under istiod do the same.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from rag.orchestrator.v1 import orchestrator_pb2 as ask_pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as ask_rpc
from rag.retriever.v1 import retriever_pb2 as search_pb
from rag.retriever.v1 import retriever_pb2_grpc as search_rpc

from askmesh.rig.kubernetes import Kubernetes
from chassis.channel import open_channel
from tests.deploy.kubelet import LOOK_S, Container, Kubelet

NAMESPACE = "rag"
QUESTION = "How long does a lease last?"
ANSWERED_S = 20.0
AT_ONCE = 4  # callers, each waiting for its answer before it calls again
PAUSE_S = 0.1  # between two of one: some 30 calls/s together, which two cores carry beside everything else
_ISTIO = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}"


class Door(ABC):
    """Callers that call on and on while it is open, and where their calls went.

    Attributes:
        is_open: Cleared, nobody calls.
        under_way: Calls that wait for their answers.
        came_of: Calls by release and code.
    """

    def __init__(self, kubernetes: Kubernetes, kubelet: Kubelet) -> None:
        self.is_open = asyncio.Event()
        self.under_way = 0
        self.came_of: Counter[tuple[str, str]] = Counter()
        self.kubernetes = kubernetes
        self._kubelet = kubelet
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stack = AsyncExitStack()
        self._draws = random.Random(1)

    @abstractmethod
    async def look(self) -> None:
        """Read the objects again."""

    @abstractmethod
    async def call(self, number: int) -> None:
        """Make one call, as this one of the callers."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group, self._stack:
            await self.look()
            callers = [group.create_task(self._calls(number)) for number in range(AT_ONCE)]
            try:
                while True:
                    await self.look()
                    await asyncio.sleep(LOOK_S)
            finally:
                for caller in callers:
                    caller.cancel()
                await asyncio.gather(*callers, return_exceptions=True)  # before their channels close

    async def _calls(self, number: int) -> None:
        while True:
            await self.is_open.wait()
            self.under_way += 1
            await self.call(number)
            self.under_way -= 1
            await asyncio.sleep(PAUSE_S)

    def one_of(self, labels: Mapping[str, str]) -> Container | None:
        found = self._kubelet.selected(labels)
        return self._draws.choice(found) if found else None

    async def channel(self, to: Container) -> grpc.aio.Channel:
        address = f"{to.service.host}:{to.service.port}"
        if address not in self._channels:
            self._channels[address] = await self._stack.enter_async_context(open_channel(address))
        return self._channels[address]

    def note(self, to: Container | None, code: str) -> str:
        self.came_of[to.release if to else "", code] += 1
        return code


class Asks(Door):
    """Asks to the orchestrators, drawn by the weights of the route "drawn".

    Attributes:
        weights: Of the canary's subset: each that was seen, in order.
        pinned: The variant that callers name; "" leaves it to the weights.
        is_looked_at: One of the callers names v2 wherever there is one: somebody who looks at a canary.
    """

    def __init__(self, kubernetes: Kubernetes, kubelet: Kubelet) -> None:
        super().__init__(kubernetes, kubelet)
        self.weights: list[int] = []
        self.pinned = ""
        self.is_looked_at = True
        self.subsets: Mapping[str, Mapping[str, str]] = {}
        self._drawn: Mapping[str, int] = {}

    async def look(self) -> None:
        virtual: Any = await self.kubernetes.client.get(f"{_ISTIO}/virtualservices/orchestrator")
        rule: Any = await self.kubernetes.client.get(f"{_ISTIO}/destinationrules/orchestrator")
        (drawn,) = [route for route in virtual["spec"]["http"] if route["name"] == "drawn"]
        self._drawn = {part["destination"]["subset"]: part.get("weight", 0) for part in drawn["route"]}
        self.subsets = {each["name"]: each["labels"] for each in rule["spec"]["subsets"]}
        if self.weights[-1:] != [self._drawn["v2"]]:
            self.weights.append(self._drawn["v2"])

    async def changes(self) -> int:
        """How often the route's specification was written."""
        virtual: Any = await self.kubernetes.client.get(f"{_ISTIO}/virtualservices/orchestrator")
        return int(virtual["metadata"]["generation"])

    async def call(self, number: int) -> None:
        [variant] = self._draws.choices(list(self._drawn), list(self._drawn.values()))
        if number == 0 and self.is_looked_at and self._kubelet.selected(self.subsets["v2"]):
            variant = "v2"
        await self.ask(self.pinned or variant)

    async def ask(self, variant: str) -> str:
        """One ask of a variant; the code of its end."""
        to = self.one_of(self.subsets[variant])
        if to is None:
            return self.note(None, "NO_PODS")
        stub = ask_rpc.OrchestratorServiceStub(await self.channel(to))
        request = ask_pb.AskRequest(collection="docs", question=QUESTION, cache_policy=ask_pb.CACHE_POLICY_BYPASS)
        try:
            await stub.Ask(request, timeout=ANSWERED_S, metadata=(("x-askmesh-variant", variant),))
        except grpc.RpcError as failed:
            return self.note(to, failed.code().name)
        return self.note(to, "OK")


class Searches(Door):
    """Searches in the active retrievers, and the share of them that the route "retrieve" mirrors."""

    def __init__(self, kubernetes: Kubernetes, kubelet: Kubelet) -> None:
        super().__init__(kubernetes, kubelet)
        self.selectors: dict[str, Mapping[str, str]] = {}
        self._mirrored: Mapping[str, float] = {}

    async def look(self) -> None:
        virtual: Any = await self.kubernetes.client.get(f"{_ISTIO}/virtualservices/retriever")
        (route,) = [each for each in virtual["spec"]["http"] if each["name"] == "retrieve"]
        self._mirrored = {
            each["destination"]["host"].partition(".")[0]: each["percentage"]["value"] for each in route["mirrors"]
        }
        for name in ("retriever", *self._mirrored):
            service: Any = await self.kubernetes.client.get(f"/api/v1/namespaces/{NAMESPACE}/services/{name}")
            self.selectors[name] = service["spec"]["selector"]

    async def call(self, number: int) -> None:
        mirrors = [name for name, percent in self._mirrored.items() if self._draws.uniform(0, 100) < percent]
        active = self.one_of(self.selectors["retriever"])
        found = await asyncio.gather(
            self._search(active), *(self._search(self.one_of(self.selectors[name])) for name in mirrors)
        )
        self.note(active, found[0])  # what is mirrored is answered to nobody

    async def _search(self, to: Container | None) -> str:
        """One search; the code of its end."""
        if to is None:
            return "NO_PODS"
        stub = search_rpc.RetrieverServiceStub(await self.channel(to))
        try:
            await stub.Retrieve(search_pb.RetrieveRequest(collection="docs", query=QUESTION), timeout=ANSWERED_S)
        except grpc.RpcError as failed:
            return failed.code().name
        return "OK"


@asynccontextmanager
async def calling(door: Door) -> AsyncIterator[None]:
    """Its callers run, and call while it is open."""
    running = asyncio.create_task(door.run())
    try:
        yield
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
