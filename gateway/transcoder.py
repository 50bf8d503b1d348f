"""HTTP request -> request message, from descriptors alone: path variables, body, query parameters.

Rule 1: the path binds first and wins nothing silently: a body that names another value than the path is refused.
Rule 2: with body "*" there are no query parameters; with a body field, or none, every other field is one.
Rule 3: a message may be given as dotted fields (`filter.comparison.field=source`) or as JSON (`filter={...}`); lists
        of messages have no dotted form in google.api.http, so JSON is the only way there.

Source: google/api/http.proto, "Rules for HTTP mapping".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.errors import InvalidRequest, MalformedMessage
from gateway.json_faults import WELL_KNOWN, Json, field_named, is_map, json_name, printable
from gateway.json_message import parse_json, refuse_depth, to_message
from gateway.routes import WHOLE_BODY, Match

MAX_QUERY_FIELDS = 200  # a filter of 64 nodes spelt out takes fewer; each costs a dictionary entry


def to_request(match: Match, body: bytes, query: str) -> Message:
    """The request message of an HTTP request.

    Args:
        match: The route and its path variables.
        body: The whole body; ignored where the route takes none.
        query: The query string, encoded.
    Raises:
        MalformedMessage: the body, a parameter or a path variable is not what the message takes.
        InvalidRequest: the body contradicts the path.
    """
    route = match.route
    descriptor: Descriptor = route.method.input_type
    message = to_message(_fields(match, body, query), descriptor)
    bound = to_message(_nested(match.bound), descriptor, place="path")
    for path in match.bound:
        _refuse_contradiction(message, bound, path)
    message.MergeFrom(bound)
    return message


def _fields(match: Match, body: bytes, query: str) -> Json:
    route = match.route
    if route.body == WHOLE_BODY:
        if query:
            raise MalformedMessage("query: every field of this method is in the body")
        return parse_json(body)
    fields = query_fields(query, route.method.input_type)
    if route.body:
        if field_key(fields, route.method.input_type, route.body) is not None:
            raise MalformedMessage(f"query: {route.body} is the body")
        fields[route.body] = parse_json(body)
    return fields


def field_key(fields: Mapping[str, Json], descriptor: Descriptor, name: str) -> str | None:
    """The key under which a field is given, by either of its names."""
    field = descriptor.fields_by_name[name]
    return next((key for key in (field.name, json_name(field)) if key in fields), None)


def query_fields(query: str, descriptor: Descriptor) -> dict[str, Json]:
    """Query parameters as the JSON object they stand for.

    Raises:
        MalformedMessage: a parameter names no field, comes twice, is not what its field takes, or leads too deep.
    """
    root: dict[str, Json] = {}
    for name, text in query_pairs(query):
        _place(root, descriptor, name, text)
    refuse_depth(root, "query")
    return root


def query_pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as exc:
        raise MalformedMessage(f"query: not UTF-8, or over {MAX_QUERY_FIELDS} parameters") from exc


def _place(root: dict[str, Json], descriptor: Descriptor, name: str, text: str) -> None:
    holder, message = root, descriptor
    *parents, last = name.split(".")
    for parent in parents:
        field = _known(message, parent, name)
        if field.message_type is None or field.is_repeated:
            raise MalformedMessage(f"query: {printable(name)}: {json_name(field)} has no fields of its own")
        inner = holder.setdefault(field.name, {})
        if not isinstance(inner, dict):
            raise MalformedMessage(f"query: {printable(name)}: given twice")
        holder, message = inner, field.message_type
    field = _known(message, last, name)
    if field.is_repeated and not is_map(field):
        holder.setdefault(field.name, []).append(_value(field, text, name))
    elif field.name in holder:
        raise MalformedMessage(f"query: {printable(name)}: given twice")
    else:
        holder[field.name] = _value(field, text, name)


def _known(message: Descriptor, part: str, name: str) -> FieldDescriptor:
    field = field_named(message, part)
    if field is None:
        raise MalformedMessage(
            f"query: {printable(name)}: {message.name} has no such field", metadata={"field": printable(name)}
        )
    return field


def _value(field: FieldDescriptor, text: str, name: str) -> Json:
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in {"true", "false"}:
            raise MalformedMessage(f"query: {printable(name)}: true or false is expected")
        return text == "true"
    if field.message_type is not None and not field.message_type.full_name.startswith(WELL_KNOWN):
        return parse_json(text, place=f"query: {printable(name)}")
    return text  # proto JSON takes numbers and enums as text


def _nested(bound: Mapping[str, str]) -> dict[str, Json]:
    root: dict[str, Json] = {}
    for path, text in bound.items():
        *parents, last = path.split(".")
        holder = reduce(lambda at, name: at.setdefault(name, {}), parents, root)
        holder[last] = text
    return root


def _refuse_contradiction(message: Message, bound: Message, path: str) -> None:
    given: object = reduce(getattr, path.split("."), message)
    meant: object = reduce(getattr, path.split("."), bound)
    if given and given != meant:
        raise InvalidRequest.field(path, "the path names another one; leave it out of the body")
