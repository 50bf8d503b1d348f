"""OpenAPI 3.1 of everything the gateway serves: rpcs from their descriptors, the rest from openapi_fixed."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from rag.orchestrator.v1 import orchestrator_pb2

from gateway import openapi_fixed as fixed
from gateway import openapi_parts as parts
from gateway.json_faults import WELL_KNOWN, json_name
from gateway.json_schema import SchemaWriter
from gateway.proto_comments import load_comments
from gateway.routes import WHOLE_BODY, Route, contract_routes
from gateway.settings import GatewaySettings

_VARIABLE = re.compile(r"\{([\w.]+)(?:=[^}]*)?\}")


def document(settings: GatewaySettings) -> dict[str, Any]:
    """The description served at /openapi.json."""
    comments = load_comments()
    writer = SchemaWriter(comments)
    paths: dict[str, dict[str, Any]] = {}
    for route in contract_routes():
        paths.setdefault(path_of(route), {})[route.verb.lower()] = _operation(route, writer, comments, settings)
    for path, verbs in fixed.paths(settings).items():
        paths.setdefault(path, {}).update(verbs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "askmesh",
            "version": metadata.version("askmesh"),
            "description": fixed.DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": fixed.TAGS,
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**writer.schemas, **parts.SCHEMAS, **fixed.SCHEMAS}.items())),
            "responses": parts.RESPONSES,
            "parameters": parts.PARAMETERS,
            "headers": parts.HEADERS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def path_of(route: Route) -> str:
    """A path template as OpenAPI has it: names without patterns and dots."""
    return _VARIABLE.sub(lambda found: f"{{{parameter_name(found[1])}}}", route.template)


def parameter_name(field_path: str) -> str:
    return field_path.rpartition(".")[2]


def _operation(
    route: Route, writer: SchemaWriter, comments: dict[str, str], settings: GatewaySettings
) -> dict[str, Any]:
    text = comments.get(route.method.full_name, "")
    operation: dict[str, Any] = {
        "operationId": route.method.name,
        "tags": [route.service.name],
        "summary": text.partition(". ")[0].rstrip("."),
        "description": text,
        "parameters": [*_path_parameters(route, comments), *_query_parameters(route, writer), *parts.COMMON_PARAMETERS],
        "responses": {"200": _success(route, writer), **parts.errors_of(route.body != "")},
    }
    if route.body:
        operation["requestBody"] = _body(route, writer)
        if route.body != WHOLE_BODY:
            parts.add_raw_upload(operation, settings)
    if route.method.server_streaming:
        parts.add_stream(operation)
    return operation


def _path_parameters(route: Route, comments: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": parameter_name(path),
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "description": comments.get(_field_at(route.method.input_type, path).full_name, ""),
        }
        for path in route.variables
    ]


def _field_at(message: Descriptor, path: str) -> FieldDescriptor:
    *parents, last = path.split(".")
    for parent in parents:
        message = message.fields_by_name[parent].message_type
    found: FieldDescriptor = message.fields_by_name[last]
    return found


def _query_parameters(route: Route, writer: SchemaWriter) -> list[dict[str, Any]]:
    """Every field that is neither in the path nor the body; messages as JSON, though dotted fields are taken too."""
    if route.body == WHOLE_BODY:
        return []
    bound = {*(path.partition(".")[0] for path in route.variables), route.body}
    return [_query_parameter(field, writer) for field in route.method.input_type.fields if field.name not in bound]


def _query_parameter(field: FieldDescriptor, writer: SchemaWriter) -> dict[str, Any]:
    schema = writer.field(field)
    parameter: dict[str, Any] = {"name": json_name(field), "in": "query", "description": schema.pop("description", "")}
    if field.message_type is not None and not field.message_type.full_name.startswith(WELL_KNOWN):
        parameter["content"] = {"application/json": {"schema": schema}}
    else:
        parameter["schema"] = schema
    return parameter


def _body(route: Route, writer: SchemaWriter) -> dict[str, Any]:
    message: Descriptor = route.method.input_type
    bound = route.variables
    if route.body != WHOLE_BODY:
        message = message.fields_by_name[route.body].message_type
        bound = tuple(path.partition(".")[2] for path in bound if path.startswith(f"{route.body}."))
    return {"required": True, "content": {"application/json": {"schema": writer.request(message, without=bound)}}}


def _success(route: Route, writer: SchemaWriter) -> dict[str, Any]:
    message: Descriptor = route.method.output_type
    if route.method.server_streaming:
        event = orchestrator_pb2.StreamAskResponse.DESCRIPTOR.oneofs_by_name["event"]
        events = {
            field.name.replace("_", "."): parts.json_data(writer.response(field.message_type)) for field in event.fields
        }
        return parts.stream_response(events, "Server-sent events, each named after the contract's.")
    return {
        "description": "OK",
        "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"application/json": {"schema": writer.response(message)}},
    }
