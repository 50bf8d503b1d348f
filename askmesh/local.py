"""All three services in one process: the production services with embedded leaves.

Between them run Unix sockets with real gRPC in a fresh private folder; for people there is one TCP port with every gRPC
service, and one with the page and REST. Nothing here decides anything: it opens in order and closes in reverse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import gateway.app
import orchestrator.app
import retriever.app
from askmesh.local_settings import LocalSettings
from chassis.address import socket_folder
from chassis.server import serve
from chassis.settings import load
from chassis.telemetry import Telemetry, build_telemetry
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings


@dataclass(frozen=True, slots=True)
class Local:
    """A running installation.

    Attributes:
        url: The page and REST ("http://127.0.0.1:8080").
        grpc_address: gRPC for clients ("127.0.0.1:50051").
        collection: The collection of calls that name none.
        telemetry: Metrics of all services, and their tracer.
        embedder_fingerprint: "" when there is no embedder and search is lexical only.
    """

    url: str
    grpc_address: str
    collection: str
    telemetry: Telemetry
    embedder_fingerprint: str


@asynccontextmanager
async def running(settings: LocalSettings) -> AsyncIterator[Local]:
    """Start everything and yield it; closing drains the gateway first and the stores last.

    Raises:
        DataFolderLocked: another process holds the data folder.
        PortInUse: a port is taken.
        SettingsInvalid: some variable of a service is wrong.
    """
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(build_telemetry("askmesh", settings))
        sockets = stack.enter_context(socket_folder())
        found = await stack.enter_async_context(
            retriever.app.build(
                _retriever_settings(settings, sockets),
                telemetry=telemetry.for_service("askmesh-retriever"),
            )
        )
        asked = await stack.enter_async_context(
            orchestrator.app.build(
                _orchestrator_settings(sockets, found.address),
                embedder=found.embedder,
                telemetry=telemetry.for_service("askmesh-orchestrator"),
            )
        )
        public = await stack.enter_async_context(
            serve(
                address=f"{settings.grpc_host}:{settings.grpc_port}",
                bindings=[*asked.bindings, *found.bindings],
                authenticator=asked.authenticator,
                admission=found.admission,
                telemetry=telemetry,
                drain_s=settings.drain_s,
            )
        )
        web = await stack.enter_async_context(
            gateway.app.build(
                _gateway_settings(settings, asked.address, found.address),
                telemetry=telemetry.for_service("askmesh-gateway"),
            )
        )
        yield Local(
            url=web.url,
            grpc_address=public.address,
            collection=settings.collection,
            telemetry=telemetry,
            embedder_fingerprint=found.embedder.fingerprint if found.embedder else "",
        )


def _retriever_settings(settings: LocalSettings, sockets: Path) -> RetrieverSettings:
    listen = f"unix:{sockets / 'retriever.sock'}"
    return load(RetrieverSettings, listen=listen, public=False, data_folder=settings.data_folder)


def _orchestrator_settings(sockets: Path, retriever_address: str) -> OrchestratorSettings:
    listen = f"unix:{sockets / 'orchestrator.sock'}"
    return load(OrchestratorSettings, listen=listen, public=False, retriever_address=retriever_address)


def _gateway_settings(settings: LocalSettings, orchestrator_address: str, retriever_address: str) -> GatewaySettings:
    return load(
        GatewaySettings,
        host=settings.http_host,
        port=settings.http_port,
        orchestrator_address=orchestrator_address,
        retriever_address=retriever_address,
        default_collection=settings.collection,
    )
