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
from collections.abc import Iterator
from itertools import islice
from typing import NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import FieldViolation, MalformedMessage
from gateway.json_faults import Json, find_faults
from gateway.json_printer import to_dict

MAX_DEPTH = 64  # a filter of 8 levels takes 24; protobuf itself refuses to encode more than 100
MAX_NAMED_FAULTS = 16  # enough to repair a request by; a hostile one may hold thousands

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # json.loads takes half a pair; UTF-8 has no such character


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
    refuse_depth(value, place)
    return value


def refuse_depth(value: Json, place: str) -> None:
    """Raise MalformedMessage when a value is nested too deeply for what follows, which is recursive."""
    if _depth_exceeds(value, MAX_DEPTH):
        raise MalformedMessage(f"{place}: nested over {MAX_DEPTH} levels deep")


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


def to_json(message: Message) -> bytes:
    return dump(to_dict(message))


def dump(value: Json) -> bytes:
    return _ENCODER.encode(value).encode()
