"""The routes that are no rpcs, for the OpenAPI description: the original system's, and the gateway's own state."""

from __future__ import annotations

from typing import Any

from gateway.json_schema import Schema
from gateway.openapi_parts import (
    BOOLEAN,
    COMMON_PARAMETERS,
    INTEGER,
    JSON,
    NUMBER,
    SSE,
    STRING,
    add_stream,
    errors_of,
    event_schema,
    json_data,
    object_of,
    reference,
    stream_response,
)
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

_TOP_K: Schema = {
    "anyOf": [
        {"type": ["integer", "null"], "maximum": 2**31 - 1, "minimum": -(2**31) + 1},
        {"type": "string", "pattern": "^(-?[0-9]{1,9})?$"},
    ],
    "description": "1 to 100; <= 0, empty and null mean 5.",
}

SCHEMAS: dict[str, Schema] = {
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
    "OriginalAnswer": object_of(
        {
            "answer": STRING,
            "citations": {"type": "array", "items": STRING},
            "citationDetails": {
                "type": "array",
                "items": object_of(
                    {
                        **dict.fromkeys(("id", "docId", "source", "section", "title", "uri", "quote"), STRING),
                        "marker": INTEGER,
                    }
                ),
            },
            "partial": BOOLEAN,
            "metadata": object_of(
                {
                    "cacheHit": BOOLEAN,
                    "cacheSimilarity": NUMBER,
                    "retrievalMethod": {"type": "string", "enum": ["hybrid", "vector", "lexical", "none"]},
                    "llmFallback": BOOLEAN,
                }
            ),
        }
    ),
    "OriginalPassages": {
        "type": "array",
        "items": object_of(
            {
                "id": STRING,
                "chunk": STRING,
                "score": NUMBER,
                "meta": object_of(dict.fromkeys(("source", "section", "docId", "title"), STRING)),
            }
        ),
    },
    "OriginalDocuments": {
        "type": "array",
        "items": object_of({**dict.fromkeys(("id", "docId", "source", "section"), STRING), "chunkCount": INTEGER}),
    },
    "Health": {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": ["UP", "DOWN", "OUT_OF_SERVICE"]},
            "components": {"type": "object"},
            "groups": {"type": "array", "items": STRING},
        },
        "required": ["status"],
    },
}
_RETRIEVE = {**SCHEMAS["OriginalQuestion"]["properties"]}
_RETRIEVE["text"] = _RETRIEVE.pop("prompt")
SCHEMAS["OriginalSearch"] = {**SCHEMAS["OriginalQuestion"], "properties": _RETRIEVE, "required": ["text"]}


def paths(settings: GatewaySettings) -> dict[str, dict[str, Any]]:
    """Every route that is no rpc."""
    question, search = _posted("OriginalQuestion"), _posted("OriginalSearch")
    stream = stream_response(
        {"token": STRING, "complete": {**STRING, "description": "The cited ids, joined by commas."}},
        "Server-sent events: `token`s, `metadata`, `complete`.",
    )
    rest = {name: schema for name, schema in SCHEMAS["OriginalAnswer"]["properties"].items() if name != "answer"}
    metadata = event_schema("metadata", json_data(object_of(rest)), has_id=False)
    stream["content"][SSE]["schema"]["oneOf"].append(metadata)
    asked: list[dict[str, Any]] = [
        {"name": "prompt", "in": "query", "required": True, "schema": {"type": "string", "pattern": "\\S"}},
        {"name": "topK", "in": "query", "schema": _TOP_K},
        {
            "name": "filters",
            "in": "query",
            "content": {JSON: {"schema": SCHEMAS["OriginalQuestion"]["properties"]["filters"]}},
        },
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
    return {"required": True, "content": {JSON: {"schema": reference("schemas", schema)}}}


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
        "headers": {"x-request-id": reference("headers", "RequestId")},
        "content": {JSON: {"schema": reference("schemas", schema)}},
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
    health = {JSON: {"schema": reference("schemas", "Health")}}
    numbers = {"text/plain": {"schema": STRING}}
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
    responses["421"] = reference("responses", "Error421")
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
