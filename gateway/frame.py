"""The frame around every HTTP request: id, deadline, identity relayed, span, numbers, and the one way errors leave.

It is the HTTP twin of chassis.interceptors: a security control. Rule 1: an exception's text never leaves; RagError says
what it says on purpose, anything else is INTERNAL with a request id. Rule 2: the gateway checks no credentials; it
relays them, and the services behind it verify them on every call. Only what gRPC cannot carry is refused here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.types import Receive, Scope, Send

from chassis.budget import Budget
from chassis.context import (
    CREDENTIALS_HEADER,
    VARIANT_HEADER,
    CallContext,
    accepted_credentials,
    accepted_variant,
    use,
)
from chassis.errors import InternalError, PermissionDenied, RagError
from chassis.identity import Identity
from chassis.logs import failure_fields
from chassis.telemetry import Telemetry, remote_parent
from gateway import metrics
from gateway.endpoints import Endpoint
from gateway.exchange import Exchange
from gateway.hosts import HostCheck
from gateway.problems import MISDIRECTED, respond_problem

UNVERIFIED = Identity(tenant="")
"""The gateway knows nobody: identity is what the services make of the credentials."""

VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # metric labels are a closed set

_log = logging.getLogger(__name__)


class Frame:
    """The gateway as an ASGI application.

    Args:
        resolve: Finds what serves a request; never raises.
        max_timeout_s: Longest deadline a caller may ask for.
    """

    def __init__(
        self,
        resolve: Callable[[Exchange], Endpoint],
        hosts: HostCheck,
        telemetry: Telemetry,
        *,
        max_timeout_s: float,
    ) -> None:
        self._resolve = resolve
        self._hosts = hosts
        self._telemetry = telemetry
        self._max_timeout_s = max_timeout_s
        self._active = telemetry.gauge(metrics.ACTIVE)
        self._requests = telemetry.histogram(metrics.REQUESTS)
        self._gone = telemetry.counter(metrics.CLIENTS_GONE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the server is configured for HTTP alone"
        started = time.perf_counter()
        exchange = Exchange.of(scope, receive, send, Budget.of(self._max_timeout_s))
        endpoint = self._resolve(exchange)
        with self._active.track_inprogress(), self._span(exchange, endpoint) as span:
            try:
                await self._serve(exchange, endpoint)
            except RagError as error:
                await self._refuse(exchange, error, span)
            except Exception as exc:  # noqa: BLE001  # the outermost frame: see the module's rule 1
                await self._fail(exchange, exc, span)
            finally:
                self._observe(exchange, endpoint, time.perf_counter() - started)

    async def _serve(self, exchange: Exchange, endpoint: Endpoint) -> None:
        if not self._hosts.allows(exchange.headers.get("host", "")):
            error = PermissionDenied("this Host is not served here; see ASKMESH_GATEWAY_ALLOWED_HOSTS")
            await respond_problem(exchange, error, http=MISDIRECTED)
            return
        asked_s = exchange.asked_timeout_s()
        exchange.budget = exchange.budget.within(endpoint.default_timeout_s if asked_s is None else asked_s)
        with use(_context_of(exchange)):
            await endpoint.handle(exchange)

    async def _refuse(self, exchange: Exchange, error: RagError, span: Span) -> None:
        span.set_attribute(metrics.ATTRIBUTE_REASON, error.reason)
        if not exchange.is_started and not exchange.is_gone:
            await respond_problem(exchange, error)

    async def _fail(self, exchange: Exchange, exc: Exception, span: Span) -> None:
        # The frames of the traceback, without the exception's text: it may quote a question.
        _log.error("a request failed inside the gateway", extra=failure_fields(exc))
        span.set_status(StatusCode.ERROR)
        await self._refuse(exchange, InternalError("internal error"), span)

    @contextmanager
    def _span(self, exchange: Exchange, endpoint: Endpoint) -> Iterator[Span]:
        verb = exchange.method if exchange.method in VERBS else "OTHER"
        attributes = {metrics.ATTRIBUTE_METHOD: verb, metrics.ATTRIBUTE_ROUTE: endpoint.uri}
        parent = remote_parent(exchange.headers)
        with self._telemetry.span(metrics.SPAN_REQUEST, attributes, kind=SpanKind.SERVER, parent=parent) as span:
            yield span
            span.set_attribute(metrics.ATTRIBUTE_STATUS, exchange.status)

    def _observe(self, exchange: Exchange, endpoint: Endpoint, seconds: float) -> None:
        verb = exchange.method if exchange.method in VERBS else "OTHER"
        if exchange.is_gone:
            self._gone.labels(endpoint.uri).inc()
        status = exchange.status or 499  # nginx's number for "the caller closed before there was a response"
        labels = (metrics.APPLICATION, verb, endpoint.uri, str(status), metrics.outcome_of(status))
        self._requests.labels(*labels).observe(seconds)


def _context_of(exchange: Exchange) -> CallContext:
    return CallContext(
        request_id=exchange.request_id,
        identity=UNVERIFIED,
        credentials=accepted_credentials(exchange.headers.get(CREDENTIALS_HEADER, "")),
        variant=accepted_variant(exchange.headers.get(VARIANT_HEADER, "")),
        budget=exchange.budget,
    )
