"""The real services on sockets, and calls to them as bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

import orchestrator.app
import retriever.app
from chassis.settings import load
from chassis.telemetry import Telemetry
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings
from tests.contract.skew.generations import released_methods

TIMEOUT_S = 60.0  # a loaded machine; a call takes 20 ms
SLOW_MS = 5_000  # the longest allowed: timeboxes are not what is tested here


@dataclass(frozen=True)
class Mesh:
    """Where the services of one process are.

    Attributes:
        embedder: Shared by the orchestrators, so that nine of them do not load it nine times.
    """

    retriever: str
    embedder: Any
    telemetry: Telemetry


@asynccontextmanager
async def retrieving(folder: Path) -> AsyncIterator[Mesh]:
    telemetry = Telemetry("test")
    settings = load(
        RetrieverSettings,
        listen=f"unix:{folder}/r.sock", data_folder=folder / "data", retrieval_timeout_ms=SLOW_MS, drain_s=0.2,
    )  # fmt: skip
    async with retriever.app.build(settings, telemetry=telemetry) as running:
        yield Mesh(running.address, running.embedder, telemetry)


@asynccontextmanager
async def asking(mesh: Mesh, listen: str, retriever_address: str) -> AsyncIterator[str]:
    settings = load(
        OrchestratorSettings,
        listen=listen, retriever_address=retriever_address, retrieve_timeout_ms=SLOW_MS, drain_s=0.2,
    )  # fmt: skip
    async with orchestrator.app.build(settings, embedder=mesh.embedder, telemetry=mesh.telemetry) as running:
        yield running.address


async def call(address: str, path: str, requests: Sequence[bytes]) -> list[bytes]:
    """The replies to a call, as bytes, whatever kind of call it is."""
    method = released_methods()[path]
    async with AsyncExitStack() as stack:
        # Any: the stubs know no channel that carries bytes as they are.
        channel: Any = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        if method.client_streaming:
            return [reply async for reply in channel.stream_stream(path)(iter(requests), timeout=TIMEOUT_S)]
        if method.server_streaming:
            return [reply async for reply in channel.unary_stream(path)(requests[0], timeout=TIMEOUT_S)]
        return [await channel.unary_unary(path)(requests[0], timeout=TIMEOUT_S)]
