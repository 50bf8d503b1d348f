"""Where a JSON value is not what a message takes: every bad place by its path, for a refusal that can be acted on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import FieldViolation

Json = Any
"""What json.loads returns."""

WELL_KNOWN = "google.protobuf."  # types with a JSON form of their own

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


def find_faults(
    value: Json, descriptor: Descriptor, path: str = "", *, probe: bool = False
) -> Iterator[FieldViolation]:
    """The places at which a JSON value is not what the message takes, outermost first.

    Args:
        probe: Try every scalar too, one by one; otherwise only what json_format would silently pass over.
    """
    if descriptor.full_name.startswith(WELL_KNOWN):
        if probe:
            yield from _well_known_faults(value, descriptor, path)
    elif not isinstance(value, dict):
        yield FieldViolation(path or descriptor.name, "a JSON object is expected")
    else:
        given: dict[str, str] = {}
        for name, item in value.items():
            inner = printable(f"{path}.{name}" if path else str(name))
            field = field_named(descriptor, name)
            if field is None:
                yield FieldViolation(inner, f"{descriptor.name} has no such field")
            elif item is not None:
                yield from _twice(field, given, inner)
                yield from _field_faults(item, field, inner, probe)


def _twice(field: FieldDescriptor, given: dict[str, str], path: str) -> Iterator[FieldViolation]:
    """A field under both of its names, or two of which only one may be set."""
    slot = field.containing_oneof.name if field.containing_oneof is not None else field.name
    if slot in given:
        yield FieldViolation(path, f"only one of it and {given[slot]} may be given")
    given[slot] = path


def _field_faults(value: Json, field: FieldDescriptor, path: str, probe: bool) -> Iterator[FieldViolation]:
    if is_map(field):
        if not isinstance(value, dict):
            yield FieldViolation(path, "a JSON object is expected")
            return
        entry = field.message_type.fields_by_name["value"]
        for key, item in value.items():
            yield from _item_faults(item, entry, printable(f"{path}.{key}"), probe)
    elif field.is_repeated:
        if not isinstance(value, list):
            yield FieldViolation(path, "a JSON list is expected")
            return
        for position, item in enumerate(value):
            yield from _item_faults(item, field, f"{path}[{position}]", probe)
    else:
        yield from _item_faults(value, field, path, probe)


def _item_faults(value: Json, field: FieldDescriptor, path: str, probe: bool) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        yield from find_faults(value, field.message_type, path, probe=probe)
    elif field.type == FieldDescriptor.TYPE_BYTES and not (isinstance(value, str) and _BASE64.fullmatch(value)):
        yield FieldViolation(path, f"{expected(field)} is expected")  # json_format skips what is not base64
    elif probe and not _is_taken(value, field):
        yield FieldViolation(path, f"{expected(field)} is expected")


def _is_taken(value: Json, field: FieldDescriptor) -> bool:
    try:
        json_format.ParseDict(
            {field.name: [value] if field.is_repeated else value}, GetMessageClass(field.containing_type)()
        )
    except json_format.ParseError:
        return False
    return True


def _well_known_faults(value: Json, descriptor: Descriptor, path: str) -> Iterator[FieldViolation]:
    try:
        json_format.ParseDict(value, GetMessageClass(descriptor)())
    except (json_format.ParseError, AttributeError, TypeError):  # it calls str methods on whatever came
        what = "an RFC 3339 time" if descriptor.name == "Timestamp" else f"a {descriptor.name}"
        yield FieldViolation(path, f"{what} is expected")


def expected(field: FieldDescriptor) -> str:
    """What a scalar field takes, for people."""
    if field.enum_type is not None:
        return "one of " + ", ".join(value.name for value in field.enum_type.values)
    kinds: Mapping[int, str] = {
        FieldDescriptor.CPPTYPE_STRING: "base64" if field.type == FieldDescriptor.TYPE_BYTES else "text",
        FieldDescriptor.CPPTYPE_BOOL: "true or false",
        FieldDescriptor.CPPTYPE_INT32: "an integer of 32 bits",
        FieldDescriptor.CPPTYPE_UINT32: "an integer of 32 bits, not negative",
        FieldDescriptor.CPPTYPE_INT64: "an integer of 64 bits",
        FieldDescriptor.CPPTYPE_UINT64: "an integer of 64 bits, not negative",
    }
    return kinds.get(field.cpp_type, "a number")


def field_named(descriptor: Descriptor, name: object) -> FieldDescriptor | None:
    """A field by its JSON name or its own."""
    return _names_of(descriptor).get(str(name))


@cache
def _names_of(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """Descriptors live as long as the process: one entry per message type of the contracts."""
    return {name: field for field in descriptor.fields for name in (field.name, json_name(field))}


def json_name(field: FieldDescriptor) -> str:
    name: str = field.json_name  # type: ignore[attr-defined]  # the stubs of protobuf 6 forgot it
    return name


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def printable(path: str) -> str:
    """A caller's own key, safe and short enough to show back."""
    shown = path if len(path) <= 100 else f"{path[:100]}..."
    return "".join(letter if letter.isprintable() else "?" for letter in shown)
