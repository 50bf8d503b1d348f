"""Messages as proto JSON, by a plan made once per message type.

json_format walks descriptors for every message; of an answer over REST that was a tenth. It stays the authority: a
test holds both to the same output, and what our answers hardly have (well-known types, 32-bit floats) is handed to it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.json_faults import WELL_KNOWN, Json, is_map, json_name

Convert = Callable[[Any], Json]

_INT64 = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})


class _Field(NamedTuple):
    """One field: under which key, and how its value is converted; `convert` is None where it is JSON as it is."""

    name: str
    key: str
    has_presence: bool
    convert: Convert | None


def to_dict(message: Message) -> dict[str, Json]:
    """A message as proto JSON: lowerCamelCase; fields without presence always there: readers need no defaults."""
    plan = _plan(message.DESCRIPTOR)
    if plan is None:
        return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    found: dict[str, Json] = {}
    for name, key, has_presence, convert in plan:
        if has_presence and not message.HasField(name):
            continue
        value = getattr(message, name)
        found[key] = value if convert is None else convert(value)
    return found


@cache
def _plan(descriptor: Descriptor) -> tuple[_Field, ...] | None:
    """None: json_format's. Descriptors live as long as the process: one entry per message type of the contracts."""
    if descriptor.full_name.startswith(WELL_KNOWN) or any(map(_is_single, descriptor.fields)):
        return None
    return tuple(
        _Field(field.name, json_name(field), field.has_presence, _conversion(field)) for field in descriptor.fields
    )


def _is_single(field: FieldDescriptor) -> bool:
    return bool(field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT)


def _conversion(field: FieldDescriptor) -> Convert | None:
    if is_map(field):
        return _mapping(_scalar(field.message_type.fields_by_name["value"]))
    convert = _scalar(field)
    if not field.is_repeated:
        return convert
    return list if convert is None else lambda items: [convert(item) for item in items]


def _mapping(convert: Convert | None) -> Convert:
    def converted(items: Any) -> Json:
        return {_map_key(key): value if convert is None else convert(value) for key, value in items.items()}

    return converted


def _map_key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _scalar(field: FieldDescriptor) -> Convert | None:
    """Of one value: the field's own, or each of a repeated one's."""
    if field.message_type is not None:
        return to_dict
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()
    if field.cpp_type in _INT64:
        return str
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return _double
    return None


def _enum(enum: EnumDescriptor) -> Convert:
    """By name; a number that this version of the contract has no name for stays one."""
    names = {value.number: value.name for value in enum.values}
    return lambda number: names.get(number, number)


def _double(value: float) -> Json:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
