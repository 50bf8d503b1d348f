"""Every metric and span name of the gateway, declared once."""

from __future__ import annotations

from chassis.telemetry import Kind, Metric

APPLICATION = "askmesh-gateway"

REQUESTS = Metric(
    # The original's name and labels (Spring), so that its dashboards keep working.
    "http_server_requests_seconds",
    Kind.HISTOGRAM,
    "HTTP requests by route, from their headers to the last byte of the response.",
    labels=("application", "method", "uri", "status", "outcome"),
)
ACTIVE = Metric(
    "askmesh_gateway_requests_active", Kind.GAUGE, "HTTP requests being served, open answer streams included."
)
STREAMS = Metric("askmesh_gateway_streams_active", Kind.GAUGE, "Answer streams open towards callers.")
CLIENTS_GONE = Metric(
    "askmesh_gateway_clients_gone_total",
    Kind.COUNTER,
    "Requests whose caller closed the connection before the response was complete.",
    labels=("uri",),
)
UPLOADED_BYTES = Metric(
    "askmesh_gateway_uploaded_bytes_total", Kind.COUNTER, "Bytes of documents taken in as raw bodies."
)
RESUMES = Metric(
    "askmesh_gateway_resumes_total",
    Kind.COUNTER,
    "Requests with Last-Event-ID: continued from what is still held, or gone.",
    labels=("result",),
)

ALL = (REQUESTS, ACTIVE, STREAMS, CLIENTS_GONE, UPLOADED_BYTES, RESUMES)

SPAN_REQUEST = "gateway.request"
ATTRIBUTE_METHOD = "http.request.method"
ATTRIBUTE_ROUTE = "http.route"
ATTRIBUTE_STATUS = "http.response.status_code"
ATTRIBUTE_REASON = "error.type"


def outcome_of(status: int) -> str:
    """Spring's closed set of outcomes."""
    names = {1: "INFORMATIONAL", 2: "SUCCESS", 3: "REDIRECTION", 4: "CLIENT_ERROR", 5: "SERVER_ERROR"}
    return names.get(status // 100, "UNKNOWN")
