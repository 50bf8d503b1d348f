"""Metrics and traces: what a process carries its numbers and spans in. Names belong to the services' metrics.py.

Rule 1: a metric is declared once, as a `Metric`, with a closed set of labels; another one of its name is refused.
Rule 2: spans hold names and numbers. Exceptions are never recorded on them: their text may quote a question.
Rule 3: without an exporter nothing is recorded, but ids are still made and relayed, so that a trace passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)

from chassis.errors import PortInUse

AttributeValue = str | bool | int | float | Sequence[str]

# Seconds. From the fastest thing measured (an exact hit, 0.75 ms) to the default deadline (30 s), about 2.5 apart.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.06, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

EXPORT_TIMEOUT_S = 2  # a collector that does not answer must not hold up closing for longer

_IDS = RandomIdGenerator()
_PROPAGATOR = TraceContextTextMapPropagator()


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, declared in a service's metrics.py.

    Attributes:
        name: Prometheus name, its unit last (`_seconds`, `_bytes`; `_total` for counters).
        kind: What may be done with it.
        help: One sentence.
        labels: Label names; their values come from closed sets, never from a caller.
        buckets: Upper bounds, for histograms.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_BUCKETS_S


class TelemetrySettings(Protocol):
    """What `build_telemetry` reads; chassis.settings.ServiceSettings has it."""

    @property
    def otlp_endpoint(self) -> str: ...
    @property
    def trace_sample_ratio(self) -> float: ...
    @property
    def metrics_listen(self) -> str: ...


class Telemetry:
    """One process's metrics and one service's tracer.

    Args:
        service_name: `service.name` of its spans.
        registry: Holds the metrics; shared by services of one process.
        processor: Where finished spans go; None makes ids only.
        sampler: Which new traces are recorded.
    """

    def __init__(
        self,
        service_name: str,
        *,
        registry: CollectorRegistry | None = None,
        processor: SpanProcessor | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self.service_name = service_name
        self._declared: dict[str, tuple[Metric, Counter | Gauge | Histogram]] = {}
        self._processor = processor
        self._sampler = sampler or ParentBased(ALWAYS_OFF)
        provider = TracerProvider(
            sampler=self._sampler, resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False
        )
        if processor is not None:
            provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("askmesh.chassis")

    def for_service(self, service_name: str) -> Telemetry:
        """A view for another service of the same process: the same metrics and exporter, its own `service.name`."""
        view = Telemetry(service_name, registry=self.registry, processor=self._processor, sampler=self._sampler)
        view._declared = self._declared
        return view

    def declare(self, *metrics: Metric) -> None:
        """Register metrics, so that they are exposed at 0 before their first use. Repeating one is harmless."""
        for metric in metrics:
            known = self._declared.get(metric.name)
            if known is None:
                self._declared[metric.name] = (metric, _build(metric, self.registry))
            elif known[0] != metric:
                raise ValueError(f"metric {metric.name} is declared twice, differently")

    def counter(self, metric: Metric | str) -> Counter:
        """A declared counter: `.labels(...).inc()`."""
        found = self._find(metric)
        assert isinstance(found, Counter), f"{metric} is not a counter"
        return found

    def gauge(self, metric: Metric | str) -> Gauge:
        """A declared gauge: `.labels(...).set(...)`."""
        found = self._find(metric)
        assert isinstance(found, Gauge), f"{metric} is not a gauge"
        return found

    def histogram(self, metric: Metric | str) -> Histogram:
        """A declared histogram: `.labels(...).observe(...)`."""
        found = self._find(metric)
        assert isinstance(found, Histogram), f"{metric} is not a histogram"
        return found

    def start_span(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
    ) -> Span:
        """A span the caller ends itself; for calls that outlive the block they begin in."""
        if self._processor is None:
            return _unrecorded(parent)
        return self._tracer.start_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
    ) -> Iterator[Span]:
        """A span around a block, current inside it. A span costs 20 us: one per call, events for its steps."""
        opened = self.start_span(name, attributes, kind=kind, parent=parent)
        with trace.use_span(opened, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield opened

    def exposition(self) -> tuple[bytes, str]:
        """The body and content type of /metrics, in Prometheus's text format."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _find(self, metric: Metric | str) -> Counter | Gauge | Histogram:
        if isinstance(metric, str):
            return self._declared[metric][1]
        known = self._declared.get(metric.name)
        if known is None or known[0] is not metric:
            self.declare(metric)
        return self._declared[metric.name][1]


@asynccontextmanager
async def build_telemetry(
    service_name: str, settings: TelemetrySettings, *, exporter: SpanExporter | None = None
) -> AsyncIterator[Telemetry]:
    """A process's telemetry; closing it flushes spans.

    Args:
        service_name: `service.name` of its spans, for example "askmesh-retriever".
        settings: Where spans go, how many, and where metrics are served.
        exporter: Instead of the one the settings name.
    """
    if exporter is None and settings.otlp_endpoint:
        exporter = _otlp_exporter(settings.otlp_endpoint)
    processor = BatchSpanProcessor(exporter) if exporter is not None else None
    sampler = ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)) if processor is not None else None
    telemetry = Telemetry(service_name, processor=processor, sampler=sampler)
    with _metrics_endpoint(settings.metrics_listen, telemetry.registry):
        try:
            yield telemetry
        finally:
            if processor is not None:
                await asyncio.to_thread(processor.shutdown)  # it flushes, and that blocks


def _unrecorded(parent: Context | None) -> Span:
    """Ids alone: all that is wanted without an exporter. The SDK's way to them takes 15 us, six times an ask."""
    above = trace.get_current_span(parent).get_span_context()
    return NonRecordingSpan(
        SpanContext(
            above.trace_id if above.is_valid else _IDS.generate_trace_id(),
            _IDS.generate_span_id(),
            is_remote=False,
            trace_flags=above.trace_flags,
            trace_state=above.trace_state,
        )
    )


def current_trace_id() -> str:
    """The trace id of the call being served, 32 hexadecimal digits; "" outside of a trace."""
    found = trace.get_current_span().get_span_context()
    return format(found.trace_id, "032x") if found.is_valid else ""


def remote_parent(metadata: Mapping[str, str]) -> Context:
    """The trace a caller's W3C headers name; an empty context when there is none, never the ambient one."""
    return _PROPAGATOR.extract(metadata, context=Context())


def trace_headers(span: Span) -> dict[str, str]:
    """The W3C headers that make `span` the parent of whatever the other side does."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=trace.set_span_in_context(span))
    return carrier


def _build(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match metric.kind:
        case Kind.COUNTER:
            return Counter(metric.name, metric.help, metric.labels, registry=registry)
        case Kind.GAUGE:
            return Gauge(metric.name, metric.help, metric.labels, registry=registry)
        case Kind.HISTOGRAM:
            return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)


def _otlp_exporter(endpoint: str) -> SpanExporter:
    # Imported here: it costs 60 ms that a process without a collector need not spend.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https"), timeout=EXPORT_TIMEOUT_S)


@contextmanager
def _metrics_endpoint(listen: str, registry: CollectorRegistry) -> Iterator[None]:
    """Serve /metrics on its own port in a thread, where a service has no HTTP of its own; "" serves none."""
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), addr=host or "127.0.0.1", registry=registry)
    except OSError as exc:
        raise PortInUse(f"metrics: port {port} cannot be opened; choose another one") from exc
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
