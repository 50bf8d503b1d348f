"""The one error shape: google.rpc.Status as JSON, after AIP-193.

    {"error": {"code": 404, "status": "NOT_FOUND", "reason": "COLLECTION_NOT_FOUND", "message": "...",
               "requestId": "...", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", ...}, ...]}}

`code` is the HTTP status, `status` the gRPC code's name, `reason` an ErrorReason without its prefix: programs branch on
the reason. Every error of the gateway has this shape, whether from a service, from here or from the HTTP parser; so has
the data of a stream's `error` event. Retry-After repeats RetryInfo in whole seconds, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from google.protobuf import json_format

from chassis.errors import MethodUnknown, RagError
from chassis.status import code_of, http_of, retry_after_s_of, to_rpc_status
from gateway.exchange import JSON_TYPE, Exchange
from gateway.json_faults import Json
from gateway.json_message import dump

METHOD_NOT_ALLOWED = 405
MISDIRECTED = 421


def problem(error: RagError, request_id: str, *, http: int | None = None) -> Json:
    """The JSON of an error."""
    status = to_rpc_status(error, request_id)
    return {
        "error": {
            "code": http or http_of(error.reason),
            "status": code_of(error.reason).name,
            "reason": error.reason,
            "message": status.message,
            "requestId": request_id,
            "details": json_format.MessageToDict(status)["details"],
        }
    }


async def respond_problem(
    exchange: Exchange, error: RagError, *, http: int | None = None, headers: Iterable[tuple[str, str]] = ()
) -> None:
    """The error as the whole response."""
    code = http or http_of(error.reason)
    body = dump(problem(error, exchange.request_id, http=code))
    await exchange.respond(code, body, JSON_TYPE, (*retry_headers(error), *auth_headers(code), *headers))


def retry_headers(error: RagError) -> tuple[tuple[str, str], ...]:
    after_s = retry_after_s_of(error)
    return () if after_s is None else (("retry-after", str(max(1, math.ceil(after_s)))),)


def auth_headers(code: int) -> tuple[tuple[str, str], ...]:
    # RFC 9110, 11.6.1: a 401 says which scheme would do.
    return (("www-authenticate", "Bearer"),) if code == 401 else ()


async def respond_method_not_allowed(exchange: Exchange, verbs: Iterable[str]) -> None:
    allowed = ", ".join(verbs)
    error = MethodUnknown(f"this path takes {allowed}", metadata={"allow": allowed})
    await respond_problem(exchange, error, http=METHOD_NOT_ALLOWED, headers=(("allow", allowed),))
