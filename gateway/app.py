"""The gateway, put together: channels to the services, routes from the contracts, files, one HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import grpc

from chassis.channel import open_channel
from chassis.telemetry import Telemetry, build_telemetry
from gateway import metrics
from gateway.compat import CompatRoutes
from gateway.endpoints import Endpoint, Handler, Router, Rpcs
from gateway.files import PageFile, files_under
from gateway.frame import Frame
from gateway.hosts import HostCheck
from gateway.http_server import bind, http_server
from gateway.json_message import dump
from gateway.openapi import document
from gateway.replay import AnswerBuffer
from gateway.routes import RouteTable, contract_routes
from gateway.settings import GatewaySettings
from gateway.sse import EventStreams
from gateway.status_pages import StatusPages
from gateway.upload import Uploads
from gateway.upstream import ORCHESTRATOR_PACKAGE, RETRIEVER_PACKAGE, Upstream

SERVICE_NAME = "askmesh-gateway"
FOLDER = Path(__file__).parent

Fixed = dict[str, dict[str, Endpoint]]


class RunningGateway:
    """A gateway that serves.

    Attributes:
        url: Where: "http://127.0.0.1:8080".
    """

    def __init__(self, url: str, status: StatusPages, stop_accepting: Callable[[], None]) -> None:
        self.url = url
        self._status = status
        self._stop_accepting = stop_accepting

    async def drain(self) -> None:
        """Not ready any more, and no new connections; open requests go on until the block of `build` is left."""
        self._status.is_draining = True
        self._stop_accepting()


@asynccontextmanager
async def build(settings: GatewaySettings, *, telemetry: Telemetry | None = None) -> AsyncIterator[RunningGateway]:
    """Serve HTTP within the block.

    Args:
        settings: See GatewaySettings.
        telemetry: The process's own; None builds one from the settings.
    Raises:
        PortInUse: the port is taken.
    """
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(closing(bind(settings.host, settings.port)))
        if telemetry is None:
            telemetry = await stack.enter_async_context(build_telemetry(SERVICE_NAME, settings))
        telemetry.declare(*metrics.ALL)
        upstream = Upstream(_channels(settings, telemetry, stack))
        buffer = AnswerBuffer(ttl_s=settings.replay_ttl_s, max_answers=settings.replay_max_answers)
        stack.push_async_callback(buffer.aclose)
        status = StatusPages(upstream, telemetry)
        frame = Frame(
            _router(settings, upstream, buffer, telemetry=telemetry, status=status).resolve,
            HostCheck(settings.host, settings.allowed_hosts),
            telemetry,
            max_timeout_s=settings.max_timeout_s,
        )
        stop_accepting = await stack.enter_async_context(
            http_server(
                frame,
                listener,
                header_timeout_s=settings.header_timeout_s,
                keep_alive_s=settings.keep_alive_s,
                drain_s=settings.drain_s,
            )
        )
        yield RunningGateway(_url(settings.host, listener.getsockname()[1]), status, stop_accepting)


def _channels(settings: GatewaySettings, telemetry: Telemetry, stack: AsyncExitStack) -> Mapping[str, grpc.aio.Channel]:
    addresses = {
        ORCHESTRATOR_PACKAGE: settings.orchestrator_address,
        RETRIEVER_PACKAGE: settings.retriever_address,
    }
    channels = {
        package: open_channel(address, telemetry=telemetry, proxy=settings.outbound_proxy)
        for package, address in addresses.items()
    }
    for channel in channels.values():
        stack.push_async_callback(channel.close)
        channel.get_state(try_to_connect=True)  # so that the first caller does not wait for the connection
    return channels


def _router(
    settings: GatewaySettings, upstream: Upstream, buffer: AnswerBuffer, *, telemetry: Telemetry, status: StatusPages
) -> Router:
    streams = EventStreams(buffer, telemetry, heartbeat_s=settings.heartbeat_s)
    uploads = Uploads(upstream, telemetry, max_bytes=settings.max_document_bytes)
    compat = CompatRoutes(upstream, streams, collection=settings.default_collection, max_bytes=settings.max_ask_bytes)
    routes = contract_routes()
    fixed = _files(settings) | _fixed(settings, {**compat_handlers(compat), **status_handlers(status)})
    return Router(fixed, RouteTable(routes), Rpcs(upstream, streams, uploads, settings))


def compat_handlers(compat: CompatRoutes) -> dict[tuple[str, str], Handler]:
    """The original system's API."""
    return {
        ("POST", "/v1/ask"): compat.ask,
        ("GET", "/v1/ask/stream"): compat.stream_got,
        ("POST", "/v1/ask/stream"): compat.stream_posted,
        ("POST", "/v1/retrieve"): compat.retrieve,
        ("GET", "/v1/documents"): compat.documents,
    }


def status_handlers(status: StatusPages) -> dict[tuple[str, str], Handler]:
    """Probes and numbers, under our names and the original's."""
    return {
        ("GET", "/healthz"): status.liveness,
        ("GET", "/readyz"): status.readiness,
        ("GET", "/metrics"): status.metrics,
        ("GET", "/actuator/health"): status.health,
        ("GET", "/actuator/health/liveness"): status.liveness,
        ("GET", "/actuator/health/readiness"): status.readiness,
        ("GET", "/actuator/info"): status.info,
        ("GET", "/actuator/prometheus"): status.metrics,
    }


def _fixed(settings: GatewaySettings, handlers: Mapping[tuple[str, str], Handler]) -> Fixed:
    found: Fixed = {}
    for (verb, path), handle in handlers.items():
        found.setdefault(path, {})[verb] = Endpoint(path, handle, settings.default_timeout_s)
    return found


def _files(settings: GatewaySettings) -> Fixed:
    """The page at /, the manual at /docs, the API's description at /openapi.json."""
    described = PageFile.of(dump(document(settings)), "application/json")
    files = {
        **dict(files_under(FOLDER / "web", "")),
        **dict(files_under(FOLDER / "docs_page", "/docs")),
        "/openapi.json": described,
    }
    # One label for all of them: file names are no closed set.
    return {path: {"GET": Endpoint("/files", file.serve, settings.default_timeout_s)} for path, file in files.items()}


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # compared with, not bound
    return f"http://{shown}:{port}"
