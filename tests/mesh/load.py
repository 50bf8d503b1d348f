"""Calls at a steady rate, beside whatever a test does to the mesh meanwhile: an open loop, as users are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import RagError, RetrieverUnavailable
from chassis.status import from_rpc_error
from tests.mesh.calls import ENOUGH_S, question

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """One ask: its reply or its error, and the milliseconds from its start to its end."""

    took_ms: float
    reply: pb.AskResponse | None = None
    error: RagError | None = None


class Load(Generic[T]):
    """A load under way.

    Attributes:
        ended: What its calls returned, in the order of their ends; complete once the load is over.
    """

    def __init__(self) -> None:
        self.ended: list[T] = []
        self._changed = asyncio.Event()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return when this is so; looked at whenever a call has ended."""
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    async def until_ended(self, count: int) -> None:
        await self.until(lambda: len(self.ended) >= count)

    async def one(self, make: Callable[[], Awaitable[T]]) -> None:
        self.ended.append(await make())
        self._changed.set()


@asynccontextmanager
async def under_load(make: Callable[[], Awaitable[T]], per_second: float) -> AsyncIterator[Load[T]]:
    """Make a call whenever its time has come, whatever became of those before it; leaving waits for the open ones."""
    load = Load[T]()

    async def call_on(group: asyncio.TaskGroup) -> None:
        began, made = time.monotonic(), 0
        while True:
            group.create_task(load.one(make))
            made += 1
            await asyncio.sleep(max(0.0, began + made / per_second - time.monotonic()))

    async with asyncio.TaskGroup() as group:
        driver = group.create_task(call_on(group))
        try:
            yield load
        finally:
            driver.cancel()


async def ask(stub, **fields):
    """One ask and how it ended; by default it is answered afresh, whatever a cache holds."""
    request = question(**({"cache_policy": pb.CACHE_POLICY_BYPASS} | fields))
    began = time.perf_counter()
    try:
        reply = await stub.Ask(request, timeout=ENOUGH_S)
    except grpc.RpcError as refused:
        return Asked((time.perf_counter() - began) * 1_000, error=from_rpc_error(refused, RetrieverUnavailable))
    return Asked((time.perf_counter() - began) * 1_000, reply)
