"""What is seen of a call: one span, three numbers, one log line. Server and client side.

Rule 1: one span per call (20 us each). Its attributes are names, codes and reasons, never content.
Rule 2: a failure is logged once, here, with the frames of its traceback but without the exception's text, which may
        quote a question. Health and reflection leave numbers only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import grpc
from opentelemetry.trace import Span, SpanKind, StatusCode
from prometheus_client import Gauge, Histogram

from chassis import metrics, status
from chassis.context import VARIANT_HEADER, accepted_variant
from chassis.errors import InternalError, Overloaded, RagError
from chassis.logs import failure_fields
from chassis.telemetry import Telemetry, remote_parent

_log = logging.getLogger(__name__)
_SILENT = ("grpc.health.", "grpc.reflection.")


class Observed:
    """One call on the server, being watched; without a word from the frame it ended OK."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK
        self.error: RagError | None = None

    def end(self, code: grpc.StatusCode) -> None:
        self.code = code

    def cancelled(self) -> None:
        self.code = grpc.StatusCode.CANCELLED

    def refused(self, error: RagError) -> None:
        self.code = status.code_of(error.reason)
        self.error = error


class _Watched(NamedTuple):
    """A method's own numbers: finding them by their labels for every call costs more than counting."""

    labels: tuple[str, str]
    in_flight: Gauge
    seconds: Histogram
    waited: Histogram


class ServerObserver:
    """Watches the calls of one server."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._handled = telemetry.counter(metrics.SERVER_HANDLED)
        self._seconds = telemetry.histogram(metrics.SERVER_SECONDS)
        self._in_flight = telemetry.gauge(metrics.SERVER_IN_FLIGHT)
        self._shed = telemetry.counter(metrics.SHED)
        self._waited = telemetry.histogram(metrics.WAIT_SECONDS)
        self._watched: dict[str, _Watched] = {}  # by full name: bound methods, and "unknown"

    @contextmanager
    def observe(self, service: str, method: str, headers: Mapping[str, str], request_id: str) -> Iterator[Observed]:
        """Watch one call from its arrival to its status."""
        watched = self._of(service, method)
        observed, started = Observed(), _now()
        watched.in_flight.inc()
        try:
            if service.startswith(_SILENT):
                yield observed
            else:
                with self._span(watched.labels, headers, request_id) as span:
                    try:
                        yield observed
                    finally:
                        finish_span(span, observed.code, observed.error)
                        _report(watched.labels, observed, request_id, _now() - started)
        finally:
            watched.in_flight.dec()
            self._count(watched, observed, _now() - started)

    def admitted(self, service: str, method: str, waited_s: float) -> None:
        """A call got its place, after waiting this long."""
        self._of(service, method).waited.observe(waited_s)

    def _of(self, service: str, method: str) -> _Watched:
        found = self._watched.get(method)
        if found is None:
            labels = (service, method.rpartition("/")[2])
            found = self._watched[method] = _Watched(
                labels, self._in_flight.labels(*labels), self._seconds.labels(*labels), self._waited.labels(*labels)
            )
        return found

    @contextmanager
    def _span(self, labels: tuple[str, str], headers: Mapping[str, str], request_id: str) -> Iterator[Span]:
        attributes = rpc_attributes(*labels) | {metrics.REQUEST_ID: request_id}
        if variant := accepted_variant(headers.get(VARIANT_HEADER, "")):
            attributes[metrics.VARIANT] = variant
        parent = remote_parent(headers)
        with self._telemetry.span("/".join(labels), attributes, kind=SpanKind.SERVER, parent=parent) as span:
            yield span

    def _count(self, watched: _Watched, observed: Observed, took_s: float) -> None:
        self._handled.labels(*watched.labels, observed.code.name).inc()
        watched.seconds.observe(took_s)
        if isinstance(observed.error, Overloaded):
            self._shed.labels(*watched.labels).inc()


class ClientObserver:
    """Watches the calls of one channel, ending each from its own done-callback, so that cancelling stays untouched."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._handled = telemetry.counter(metrics.CLIENT_HANDLED)
        self._seconds = telemetry.histogram(metrics.CLIENT_SECONDS)

    def start(self, method: str) -> tuple[Span, float]:
        """A client span, child of the current one, and when it began."""
        labels = _labels(method)
        return self._telemetry.start_span("/".join(labels), rpc_attributes(*labels), kind=SpanKind.CLIENT), _now()

    def finish(self, method: str, opened: tuple[Span, float], code: grpc.StatusCode) -> None:
        """The call has its status."""
        span, started = opened
        labels = _labels(method)
        finish_span(span, code, None)
        span.end()
        self._handled.labels(*labels, code.name).inc()
        self._seconds.labels(*labels).observe(_now() - started)


def rpc_attributes(service: str, method: str) -> dict[str, str]:
    """What every span of a call holds."""
    return {metrics.RPC_SYSTEM: "grpc", metrics.RPC_SERVICE: service, metrics.RPC_METHOD: method}


def finish_span(span: Span, code: grpc.StatusCode, error: RagError | None) -> None:
    """Put a call's outcome on its span: the code, the reason, and whether it counts as an error."""
    span.set_attribute(metrics.RPC_CODE, code.value[0])
    if error is not None:
        span.set_attribute(metrics.REASON, error.reason)
    if code is not grpc.StatusCode.OK:
        span.set_status(StatusCode.ERROR, error.reason if error is not None else code.name)


def _report(labels: tuple[str, str], observed: Observed, request_id: str, took_s: float) -> None:
    fields: dict[str, object] = {
        "rpc": "/".join(labels),
        "code": observed.code.name,
        "request_id": request_id,
        "ms": round(took_s * 1_000, 2),
    }
    if observed.error is not None:
        fields["reason"] = observed.error.reason
    if isinstance(observed.error, InternalError):
        _log.error("call failed", extra=fields | failure_fields(observed.error))
        return
    level = logging.DEBUG if observed.code is grpc.StatusCode.OK else logging.INFO
    _log.log(level, "call ended", extra=fields)


def _labels(method: str) -> tuple[str, str]:
    service, _, name = method.lstrip("/").rpartition("/")
    return service, name


def _now() -> float:
    return time.perf_counter()
