"""What every operation of the OpenAPI description is made of: errors, headers, parameters, streams, raw uploads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag.retriever.v1 import document_pb2

from chassis.status import TABLE
from gateway.exchange import GRPC_TIMEOUT_HEADER, TIMEOUT_MS_HEADER
from gateway.json_schema import Schema
from gateway.settings import GatewaySettings

JSON = "application/json"
SSE = "text/event-stream"


def reference(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def object_of(properties: Mapping[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties), **more}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}

SCHEMAS: dict[str, Schema] = {
    "Error": object_of(
        {
            "error": object_of(
                {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "status": {"type": "string", "description": "The gRPC code's name."},
                    "reason": {"type": "string", "enum": sorted(TABLE), "description": "For programs; never changes."},
                    "message": {"type": "string", "description": "For people; may change."},
                    "requestId": {"type": "string", "description": "Quote it to an operator."},
                    "details": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"@type": STRING}, "required": ["@type"]},
                        "description": "google.rpc.ErrorInfo; BadRequest, RetryInfo, ResourceInfo where they apply.",
                    },
                }
            )
        },
        description="google.rpc.Status as JSON, after AIP-193.",
    ),
}

_ERROR_TEXT = {
    "400": "The request is not what the method takes, or a precondition does not hold.",
    "401": "Credentials are missing or not valid.",
    "403": "The caller lacks a role.",
    "404": "There is no such thing, or none the caller may read.",
    "405": "The path does not take this HTTP method; Allow says which it takes.",
    "409": "Another writer was faster; try again.",
    "413": "The body is over its limit.",
    "421": "This Host is not served here.",
    "429": "Shed before any work was done; try again after Retry-After.",
    "499": "The caller went away.",
    "500": "A bug of the server; report the request id.",
    "503": "Something needed does not answer; try again after Retry-After.",
    "504": "The deadline passed.",
    "507": "The store is full.",
}
RESPONSES: dict[str, Any] = {
    f"Error{code}": {
        "description": text,
        "headers": {"x-request-id": reference("headers", "RequestId")},
        "content": {JSON: {"schema": reference("schemas", "Error")}},
    }
    for code, text in _ERROR_TEXT.items()
}
_READ_ERRORS = tuple(code for code in _ERROR_TEXT if code not in {"405", "409", "413", "499", "507"})

HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The request's id, the caller's own when it sent one.",
        "schema": STRING,
        "required": True,
    }
}
PARAMETERS: dict[str, Any] = {
    "RequestId": {
        "name": "x-request-id",
        "in": "header",
        "description": "The caller's own id: 1 to 64 of A-Z, a-z, 0-9, '_', '-', '.'; anything else is replaced.",
        "schema": STRING,
    },
    "TimeoutMs": {
        "name": TIMEOUT_MS_HEADER,
        "in": "header",
        "description": f"Milliseconds the answer may take, up to a setting; also `{GRPC_TIMEOUT_HEADER}: 500m`.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
    "LastEventId": {
        "name": "last-event-id",
        "in": "header",
        "description": "Get the rest of that answer, or 204 when it is not held any more. Never asks again.",
        "schema": STRING,
    },
}
COMMON_PARAMETERS = [reference("parameters", "RequestId"), reference("parameters", "TimeoutMs")]


def errors_of(has_body: bool) -> dict[str, Any]:
    codes = (*_READ_ERRORS, "409", "413", "507") if has_body else (*_READ_ERRORS, "409")
    return {code: reference("responses", f"Error{code}") for code in sorted(codes)}


def stream_response(events: Mapping[str, Schema], text: str) -> dict[str, Any]:
    """A stream of events, each by name with the schema of its data; `error` may come instead of the last.

    Source: OpenAPI 3.2, "Server-Sent Event Streams": the schema describes one event.
    """
    schemas = [event_schema(name, data) for name, data in events.items()]
    error = event_schema("error", json_data(reference("schemas", "Error")), has_id=False)
    return {
        "description": f"{text} Ids are `<answerId>:<sequence>`; a comment keeps a silent stream alive.",
        "headers": {"x-request-id": reference("headers", "RequestId")},
        "content": {SSE: {"schema": {"oneOf": [*schemas, error]}}},
    }


def event_schema(name: str, data: Schema, *, has_id: bool = True) -> Schema:
    required = ["event", "data", "id"] if has_id else ["event", "data"]
    properties = {"event": {"const": name}, "data": data, "id": STRING}
    return {"type": "object", "title": name, "properties": properties, "required": required}


def json_data(schema: Schema) -> Schema:
    """Data that is JSON of a schema."""
    return {**STRING, "contentMediaType": JSON, "contentSchema": schema}


def add_stream(operation: dict[str, Any]) -> None:
    operation["parameters"].append(reference("parameters", "LastEventId"))
    operation["responses"]["204"] = {"description": "The answer Last-Event-ID names has no more, or is not held."}


def add_raw_upload(operation: dict[str, Any], settings: GatewaySettings) -> None:
    """The raw file as the body, beside the message as JSON."""
    described = document_pb2.DocumentInput.DESCRIPTOR.full_name
    operation["description"] += (
        f"\n\nWith any content type but {JSON} the body is the file itself, up to {settings.max_document_bytes} bytes, "
        f"passed on as it arrives; what {described} would say is in the query then (title, uri, source, groups, "
        "contentType, metadata), or in the header x-askmesh-metadata."
    )
    operation["requestBody"]["content"]["application/octet-stream"] = {"schema": {}}
