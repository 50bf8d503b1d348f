"""Proto JSON in and out. A refusal names the field, never the library that noticed.

Rule 1: protobuf's own json_format is the authority on what JSON a message takes.
Rule 2: what json_format passes over in silence (a list for a message, text that is not base64, a field twice) is looked
        for first, because a filter or a file must not vanish; scalars are tried one by one only after it refused.
Rule 3: depth is bounded before anything recursive runs: a protobuf parser stops at 100 levels, Python's at its stack.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import FieldViolation, MalformedMessage

MAX_DEPTH = 64  # a filter of 8 levels takes 24; protobuf itself refuses to encode more than 100
MAX_NAMED_FAULTS = 16  # enough to repair a request by; a hostile one may hold thousands

WELL_KNOWN = "google.protobuf."  # types with a JSON form of their own

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # json.loads takes half a pair; UTF-8 has no such character
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")

Json = Any
"""What json.loads returns."""


def parse_json(raw: bytes | str, *, place: str = "body") -> Json:
    """JSON text as a value; empty text is an empty object.

    Raises:
        MalformedMessage: it is not JSON, not UTF-8, nested too deeply, or names a key twice.
    """
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as exc:
        raise MalformedMessage(f"{place}: the JSON is nested too deeply") from exc
    except json.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        raise MalformedMessage(f"{place}: not JSON ({where})") from exc
    except ValueError as exc:  # not UTF-8, a number too long to read, or one of the hooks below
        raise MalformedMessage(f"{place}: not JSON as proto3 has it (UTF-8, each key once, no NaN)") from exc
    if isinstance(raw, str):
        raw = raw.encode()
    if _SURROGATE.search(raw) and not _is_text(value):
        raise MalformedMessage(f"{place}: half of a surrogate pair is not text")
    if _depth_exceeds(value, MAX_DEPTH):
        raise MalformedMessage(f"{place}: the JSON is nested over {MAX_DEPTH} levels deep")
    return value


def _is_text(value: Json) -> bool:
    try:
        dump(value)
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def number_of(value: float, place: str) -> float:
    """A JSON number as a double.

    Raises:
        MalformedMessage: it is infinite, or an integer no double holds.
    """
    if abs(value) > sys.float_info.max:
        raise MalformedMessage(f"{place}: a finite number is expected", metadata={"field": place})
    return float(value)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _depth_exceeds(value: Json, limit: int) -> bool:
    """Level by level and without recursion: the value may be as deep as the parser allowed."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def to_message(value: Json, descriptor: Descriptor, *, place: str = "body") -> Message:
    """A message from a JSON value; field names may be lowerCamelCase or the contract's own.

    Raises:
        MalformedMessage: unknown fields, wrong types, a field given twice; every one is named, up to a bound.
    """
    if not isinstance(value, dict):
        raise MalformedMessage(f"{place}: a JSON object is expected")
    _refuse(find_faults(value, descriptor), descriptor)
    message: Message = GetMessageClass(descriptor)()
    try:
        json_format.ParseDict(value, message)
    except (json_format.ParseError, RecursionError) as exc:
        _refuse(find_faults(value, descriptor, probe=True), descriptor)
        raise MalformedMessage(f"{place}: the JSON is not a message {descriptor.name}") from exc
    return message


def _refuse(faults: Iterator[FieldViolation], descriptor: Descriptor) -> None:
    named = list(islice(faults, MAX_NAMED_FAULTS))
    if named:
        text = "; ".join(f"{fault.field}: {fault.description}" for fault in named)
        raise MalformedMessage(text, metadata={"message": descriptor.name, "field": named[0].field})


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


def to_dict(message: Message) -> dict[str, Json]:
    """A message as proto JSON: lowerCamelCase; fields without presence always there: readers need no defaults."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def to_json(message: Message) -> bytes:
    return dump(to_dict(message))


def dump(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
