"""The names of everything the chassis measures and puts on spans. Services declare theirs in their own metrics.py.

The gRPC names are those that dashboards for gRPC know (grpc_server_handled_total and so on). A method that no service
has counts as "unknown": a caller must not be able to make labels.
"""

from __future__ import annotations

from typing import Final

from chassis.telemetry import Kind, Metric

_METHOD: Final = ("grpc_service", "grpc_method")

SERVER_HANDLED: Final = Metric(
    "grpc_server_handled_total", Kind.COUNTER, "Calls ended on the server, by code.", (*_METHOD, "grpc_code")
)
SERVER_SECONDS: Final = Metric(
    "grpc_server_handling_seconds", Kind.HISTOGRAM, "Time from a call's arrival to its status.", _METHOD
)
SERVER_IN_FLIGHT: Final = Metric("grpc_server_in_flight", Kind.GAUGE, "Calls open on the server.", _METHOD)
CLIENT_HANDLED: Final = Metric(
    "grpc_client_handled_total", Kind.COUNTER, "Calls ended as a client, by code.", (*_METHOD, "grpc_code")
)
CLIENT_SECONDS: Final = Metric(
    "grpc_client_handling_seconds", Kind.HISTOGRAM, "Time from a call's start to its status, as a client.", _METHOD
)
SHED: Final = Metric("askmesh_admission_shed_total", Kind.COUNTER, "Calls refused because of load.", _METHOD)
WAIT_SECONDS: Final = Metric(
    "askmesh_admission_wait_seconds", Kind.HISTOGRAM, "Time an admitted call waited for its turn.", _METHOD
)
BREAKER_OPEN: Final = Metric(
    "askmesh_breaker_open",
    Kind.GAUGE,
    "1 while a dependency's breaker refuses calls, 0.5 while it probes.",
    ("breaker",),
)
RETRIES: Final = Metric("askmesh_retries_total", Kind.COUNTER, "Second and later attempts, by policy.", ("policy",))

CHASSIS_METRICS: Final = (
    SERVER_HANDLED,
    SERVER_SECONDS,
    SERVER_IN_FLIGHT,
    CLIENT_HANDLED,
    CLIENT_SECONDS,
    SHED,
    WAIT_SECONDS,
    BREAKER_OPEN,
    RETRIES,
)

# Span attributes, after OpenTelemetry's conventions for RPC.
RPC_SYSTEM: Final = "rpc.system"
RPC_SERVICE: Final = "rpc.service"
RPC_METHOD: Final = "rpc.method"
RPC_CODE: Final = "rpc.grpc.status_code"
REASON: Final = "askmesh.error.reason"
REQUEST_ID: Final = "askmesh.request_id"
VARIANT: Final = "askmesh.variant"
