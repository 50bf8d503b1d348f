"""What no descriptor says about the API: errors, streams, raw uploads, the original's routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag.retriever.v1 import document_pb2

from chassis.status import TABLE
from gateway.exchange import GRPC_TIMEOUT_HEADER, TIMEOUT_MS_HEADER
from gateway.json_schema import Schema
from gateway.settings import GatewaySettings

DESCRIPTION = """\
Cited answers from your own documents. Requests and responses are proto JSON of the gRPC contracts: lowerCamelCase
(requests may use the contract's own names too), 64-bit integers as text in responses, enums by name, times as RFC 3339.
Responses leave out only absent messages and unset members of a choice.

Every error, also in a stream, has one shape: see `Error`. Branch on `reason`; `retry-after` says when to try again.

A request may name its deadline by `x-askmesh-timeout-ms` or `grpc-timeout`, its id by `x-request-id` and its trace by
`traceparent`. When the caller closes the connection, its work is cancelled everywhere."""

TAGS = [
    {"name": "OrchestratorService", "description": "Questions and cited answers."},
    {"name": "RetrieverService", "description": "Passages without an answer."},
    {"name": "DocumentService", "description": "Documents of a collection."},
    {"name": "CollectionService", "description": "Collections of a tenant."},
    {"name": "Original", "description": "Routes of the system askmesh replaces, on the default collection."},
    {"name": "Status", "description": "Probes and numbers."},
]

JSON = "application/json"
SSE = "text/event-stream"


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(properties: Mapping[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties), **more}


_STRING: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_BOOLEAN: Schema = {"type": "boolean"}

_TOP_K: Schema = {
    "anyOf": [
        {"type": ["integer", "null"], "maximum": 2**31 - 1, "minimum": -(2**31) + 1},
        {"type": "string", "pattern": "^(-?[0-9]{1,9})?$"},
    ],
    "description": "1 to 100; <= 0, empty and null mean 5.",
}

SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        {
            "error": _object(
                {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "status": {"type": "string", "description": "The gRPC code's name."},
                    "reason": {"type": "string", "enum": sorted(TABLE), "description": "For programs; never changes."},
                    "message": {"type": "string", "description": "For people; may change."},
                    "requestId": {"type": "string", "description": "Quote it to an operator."},
                    "details": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"@type": _STRING}, "required": ["@type"]},
                        "description": "google.rpc.ErrorInfo; BadRequest, RetryInfo, ResourceInfo where they apply.",
                    },
                }
            )
        },
        description="google.rpc.Status as JSON, after AIP-193.",
    ),
    "OriginalQuestion": {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "minLength": 1, "pattern": "\\S", "maxLength": 4096},
            "filters": {
                "type": ["object", "null"],
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                "description": "Every entry must equal the document's field; docId names the document.",
            },
            "topK": _TOP_K,
        },
        "required": ["prompt"],
    },
    "OriginalAnswer": _object(
        {
            "answer": _STRING,
            "citations": {"type": "array", "items": _STRING},
            "citationDetails": {
                "type": "array",
                "items": _object(dict.fromkeys(("id", "docId", "source", "section", "title", "uri", "quote"), _STRING)),
            },
            "partial": _BOOLEAN,
            "metadata": _object(
                {
                    "cacheHit": _BOOLEAN,
                    "cacheSimilarity": _NUMBER,
                    "retrievalMethod": {"type": "string", "enum": ["hybrid", "vector", "lexical", "none"]},
                    "llmFallback": _BOOLEAN,
                }
            ),
        }
    ),
    "OriginalPassages": {
        "type": "array",
        "items": _object(
            {
                "id": _STRING,
                "chunk": _STRING,
                "score": _NUMBER,
                "meta": _object(dict.fromkeys(("source", "section", "docId", "title"), _STRING)),
            }
        ),
    },
    "OriginalDocuments": {
        "type": "array",
        "items": _object({**dict.fromkeys(("id", "docId", "source", "section"), _STRING), "chunkCount": _INTEGER}),
    },
    "Health": {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": ["UP", "DOWN", "OUT_OF_SERVICE"]},
            "components": {"type": "object"},
            "groups": {"type": "array", "items": _STRING},
        },
        "required": ["status"],
    },
}
_RETRIEVE = {**SCHEMAS["OriginalQuestion"]["properties"]}
_RETRIEVE["text"] = _RETRIEVE.pop("prompt")
SCHEMAS["OriginalSearch"] = {**SCHEMAS["OriginalQuestion"], "properties": _RETRIEVE, "required": ["text"]}

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
        "headers": {"x-request-id": _ref("headers", "RequestId")},
        "content": {JSON: {"schema": _ref("schemas", "Error")}},
    }
    for code, text in _ERROR_TEXT.items()
}
_READ_ERRORS = tuple(code for code in _ERROR_TEXT if code not in {"405", "409", "413", "499", "507"})

HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The request's id, the caller's own when it sent one.",
        "schema": _STRING,
        "required": True,
    }
}
PARAMETERS: dict[str, Any] = {
    "RequestId": {
        "name": "x-request-id",
        "in": "header",
        "description": "The caller's own id: 1 to 64 of A-Z, a-z, 0-9, '_', '-', '.'; anything else is replaced.",
        "schema": _STRING,
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
        "schema": _STRING,
    },
}
COMMON_PARAMETERS = [_ref("parameters", "RequestId"), _ref("parameters", "TimeoutMs")]


def errors_of(has_body: bool) -> dict[str, Any]:
    codes = (*_READ_ERRORS, "409", "413", "507") if has_body else (*_READ_ERRORS, "409")
    return {code: _ref("responses", f"Error{code}") for code in sorted(codes)}


def stream_response(events: Mapping[str, Schema], text: str) -> dict[str, Any]:
    """A stream of events, each by name with the schema of its data; `error` may come instead of the last.

    Source: OpenAPI 3.2, "Server-Sent Event Streams": the schema describes one event.
    """
    schemas = [event_schema(name, data) for name, data in events.items()]
    error = event_schema("error", json_data(_ref("schemas", "Error")), has_id=False)
    return {
        "description": f"{text} Ids are `<answerId>:<sequence>`; a comment keeps a silent stream alive.",
        "headers": {"x-request-id": _ref("headers", "RequestId")},
        "content": {SSE: {"schema": {"oneOf": [*schemas, error]}}},
    }


def event_schema(name: str, data: Schema, *, has_id: bool = True) -> Schema:
    required = ["event", "data", "id"] if has_id else ["event", "data"]
    properties = {"event": {"const": name}, "data": data, "id": _STRING}
    return {"type": "object", "title": name, "properties": properties, "required": required}


def json_data(schema: Schema) -> Schema:
    """Data that is JSON of a schema."""
    return {**_STRING, "contentMediaType": JSON, "contentSchema": schema}


def add_stream(operation: dict[str, Any]) -> None:
    operation["parameters"].append(_ref("parameters", "LastEventId"))
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


def paths(settings: GatewaySettings) -> dict[str, dict[str, Any]]:
    """Every route that is no rpc."""
    question, search = _posted("OriginalQuestion"), _posted("OriginalSearch")
    stream = stream_response(
        {"token": _STRING, "complete": {**_STRING, "description": "The cited ids, joined by commas."}},
        "Server-sent events: `token`s, `metadata`, `complete`.",
    )
    rest = {name: SCHEMAS["OriginalAnswer"]["properties"][name] for name in ("citations", "citationDetails")}
    metadata = event_schema("metadata", json_data(_object(rest)), has_id=False)
    stream["content"][SSE]["schema"]["oneOf"].append(metadata)
    asked: list[dict[str, Any]] = [
        {"name": "prompt", "in": "query", "required": True, "schema": {"type": "string", "pattern": "\\S"}},
        {"name": "topK", "in": "query", "schema": _TOP_K},
    ]
    found = {
        "/v1/ask": {"post": _original("originalAsk", "Ask", "OriginalAnswer", body=question)},
        "/v1/ask/stream": {
            "get": _original("originalAskStream", "Ask, streamed", "", parameters=asked, stream=stream),
            "post": _original("originalAskStreamPosted", "Ask, streamed", "", body=question, stream=stream),
        },
        "/v1/retrieve": {"post": _original("originalRetrieve", "Find passages", "OriginalPassages", body=search)},
        "/v1/documents": {"get": _original("originalDocuments", "List documents", "OriginalDocuments")},
    }
    for verbs in found.values():
        for operation in verbs.values():
            operation["description"] += f' Collection: "{settings.default_collection}".'
    return found | _status_paths()


def _posted(schema: str) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": _ref("schemas", schema)}}}


def _original(
    name: str,
    summary: str,
    schema: str,
    *,
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    stream: dict[str, Any] | None = None,
) -> dict[str, Any]:
    success = stream or {
        "description": "OK",
        "headers": {"x-request-id": _ref("headers", "RequestId")},
        "content": {JSON: {"schema": _ref("schemas", schema)}},
    }
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": ["Original"],
        "summary": summary,
        "description": f"{summary}, as the original system had it.",
        "parameters": [*(parameters or ()), *COMMON_PARAMETERS],
        "responses": {"200": success, **errors_of(body is not None)},
    }
    if body:
        operation["requestBody"] = body
    if stream:
        add_stream(operation)
    return operation


def _status_paths() -> dict[str, dict[str, Any]]:
    health = {JSON: {"schema": _ref("schemas", "Health")}}
    numbers = {"text/plain": {"schema": _STRING}}
    info = {JSON: {"schema": {"type": "object"}}}
    pages = {
        "/healthz": ("Alive", health),
        "/readyz": ("Ready", health),
        "/metrics": ("Numbers", numbers),
        "/actuator/health": ("Health and its components", health),
        "/actuator/health/liveness": ("Alive", health),
        "/actuator/health/readiness": ("Ready", health),
        "/actuator/info": ("Name and version", info),
        "/actuator/prometheus": ("Numbers", numbers),
    }
    return {path: {"get": _page(path, summary, content)} for path, (summary, content) in pages.items()}


def _page(path: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": summary, "content": content}}
    responses["421"] = _ref("responses", "Error421")
    if "schemas" in str(content):
        responses["503"] = {"description": "Not now.", "content": content}
    name = "".join(part.title() for part in path.replace("/", " ").split())
    return {
        "operationId": f"status{name}",
        "tags": ["Status"],
        "summary": summary,
        "security": [],
        "responses": responses,
    }
