"""What a filter means, and which filters and metadata are allowed. Pure: every store must agree with this module.

Rule 1: two-valued logic. A missing value makes EXISTS false, NE and NOT true, every other comparison false.
Rule 2: a built-in field that is empty ("" or page 0) is missing; a metadata value is never missing, "" included.
Rule 3: strings compare by code point, numbers as doubles, times at microseconds; types never mix.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from chassis.errors import FieldViolation, FilterInvalid, InvalidRequest, MetadataConflict
from retriever.types import (
    BUILTIN_FIELDS,
    CHUNK_FIELDS,
    And,
    Comparison,
    DocumentRecord,
    FieldType,
    Filter,
    Metadata,
    Not,
    Operator,
    Or,
    Scalar,
)

MAX_NODES: Final = 64  # filter.proto, as are the next five
MAX_LEVELS: Final = 8
MAX_IN_VALUES: Final = 256
MAX_STRING_CHARS: Final = 1_024
MAX_FIELDS: Final = 32  # per collection; design.md section 4: typed slots, no mapping explosion
FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)

_ORDERED: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}


def type_of(value: Scalar) -> FieldType:
    """The field type a value has."""
    if isinstance(value, bool):  # before numbers: a bool is an int in Python
        return FieldType.BOOL
    if isinstance(value, str):
        return FieldType.STRING
    if isinstance(value, datetime):
        return FieldType.TIME
    return FieldType.NUMBER


def matches(filter: Filter, record: DocumentRecord, section: str, page: int) -> bool:
    """Whether a chunk of `record` under `section` on `page` matches a valid filter: the oracle of every store.

    For whole documents pass "" and 0; filters on documents may not name chunk fields (see `validate`).
    """
    match filter:
        case And(parts):
            return all(matches(part, record, section, page) for part in parts)
        case Or(parts):
            return any(matches(part, record, section, page) for part in parts)
        case Not(part):
            return not matches(part, record, section, page)
        case Comparison():
            return _holds(filter, _value(filter.field, record, section, page))


def _value(field: str, record: DocumentRecord, section: str, page: int) -> Scalar | None:
    if field == "section":
        return section or None
    if field == "page":
        return float(page) if page else None
    if field in BUILTIN_FIELDS:
        return getattr(record, field) or None
    return record.metadata.get(field)


def _holds(comparison: Comparison, value: Scalar | None) -> bool:
    match comparison.operator:
        case Operator.EXISTS:
            return value is not None
        case Operator.NE:
            return value is None or value != comparison.values[0]
        case Operator.EQ | Operator.IN:
            return value is not None and value in comparison.values
        case ordered:
            return value is not None and _ORDERED[ordered](value, comparison.values[0])


def validate(
    filter: Filter, fields: Mapping[str, FieldType], *, chunk_fields: bool = True, path: str = "filter"
) -> None:
    """Check a caller's filter against the collection's fields.

    Args:
        filter: The tree.
        fields: The collection's metadata fields; the built-in ones are added here.
        chunk_fields: False where whole documents are filtered: `section` and `page` are then unknown.
        path: Where the filter is in the request; violations are named below it.
    Raises:
        FilterInvalid: with one violation for every node that is wrong.
    """
    known = {**fields, **BUILTIN_FIELDS}
    if not chunk_fields:
        known = {name: kind for name, kind in known.items() if name not in CHUNK_FIELDS}
    violations: list[FieldViolation] = []
    nodes = _check(filter, known, path, violations)
    if nodes > MAX_NODES:
        violations.append(FieldViolation(path, f"has {nodes} nodes, at most {MAX_NODES} are allowed"))
    if violations:
        first = violations[0]
        raise FilterInvalid(f"{first.field}: {first.description}", violations)


def _check(
    filter: Filter, known: Mapping[str, FieldType], path: str, found: list[FieldViolation], *, level: int = 1
) -> int:
    """Collects what is wrong below `path`; returns how many nodes it saw."""
    if level > MAX_LEVELS:
        found.append(FieldViolation(path, f"is nested deeper than {MAX_LEVELS} levels"))
        return 1
    match filter:
        case And(parts) | Or(parts):
            word = "and" if isinstance(filter, And) else "or"
            return 1 + sum(
                _check(part, known, f"{path}.{word}.filters[{i}]", found, level=level + 1)
                for i, part in enumerate(parts)
            )
        case Not(part):
            return 1 + _check(part, known, f"{path}.not", found, level=level + 1)
        case Comparison():
            _check_comparison(filter, known, f"{path}.comparison", found)
            return 1


def _check_comparison(
    comparison: Comparison, known: Mapping[str, FieldType], path: str, found: list[FieldViolation]
) -> None:
    kind = known.get(comparison.field)
    if FIELD_NAME.fullmatch(comparison.field) is None:
        found.append(FieldViolation(f"{path}.field", "must be 1 to 64 characters of a-z, A-Z, 0-9, '_', '-' and '.'"))
        return
    if kind is None:
        names = ", ".join(sorted(known))
        found.append(FieldViolation(f"{path}.field", f"the collection has no such field; it has: {names}"))
        return
    wrong = _wrong_operands(comparison, kind)
    if wrong is not None:
        found.append(FieldViolation(f"{path}.{wrong[0]}", wrong[1]))


def _wrong_operands(comparison: Comparison, kind: FieldType) -> tuple[str, str] | None:
    """The first thing wrong with a comparison's operator or values, as (field, description)."""
    count = len(comparison.values)
    if comparison.operator is Operator.EXISTS:
        return ("value", "EXISTS takes none") if count else None
    if comparison.operator is Operator.IN:
        if not 1 <= count <= MAX_IN_VALUES:
            return "values", f"IN takes 1 to {MAX_IN_VALUES} values, not {count}"
    elif count != 1:
        return "value", f"{comparison.operator.name} takes exactly one"
    if comparison.operator in _ORDERED and kind is FieldType.BOOL:
        return "operator", f"{comparison.operator.name} has no meaning for a bool"
    for index, value in enumerate(comparison.values):
        place = f"values[{index}]" if comparison.operator is Operator.IN else "value"
        if type_of(value) is not kind:
            return place, f"must be a {kind.value}, as the field is"
        problem = value_problem(value)
        if problem:
            return place, problem
    return None


def value_problem(value: Scalar) -> str:
    """Why a value is not one, "" when it is: for metadata and filters alike."""
    match value:
        case bool():
            return ""
        case str():
            if len(value) > MAX_STRING_CHARS:
                return f"has {len(value)} characters, at most {MAX_STRING_CHARS} are allowed"
            return "" if _is_unicode(value) else "is not valid Unicode text"
        case datetime():
            return "" if value.tzinfo is not None else "has no time zone"
        case _:
            return "" if math.isfinite(value) else "must be a finite number"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)  # lone surrogates have no UTF-8 form


def validate_metadata(metadata: Metadata, path: str = "document.metadata") -> None:
    """Check names and values of one document's metadata, whatever its collection.

    Raises:
        InvalidRequest: a name is malformed or built in, a value is out of range, or there are too many.
    """
    found: list[FieldViolation] = []
    if len(metadata) > MAX_FIELDS:
        found.append(FieldViolation(path, f"has {len(metadata)} fields, at most {MAX_FIELDS} are allowed"))
    for name, value in metadata.items():
        place = f"{path}[{name[:64]}]"
        if FIELD_NAME.fullmatch(name) is None:
            found.append(FieldViolation(place, "a name has 1 to 64 characters of a-z, A-Z, 0-9, '_', '-' and '.'"))
        elif name in BUILTIN_FIELDS:
            found.append(FieldViolation(place, "is a built-in field; choose another name"))
        elif problem := value_problem(value):
            found.append(FieldViolation(place, problem))
    if found:
        raise InvalidRequest(f"{found[0].field}: {found[0].description}", found)


def check_metadata(
    metadata: Metadata, fields: Mapping[str, FieldType], path: str = "document.metadata"
) -> Mapping[str, FieldType]:
    """Fix the types of new fields: the collection's fields once this metadata is in it.

    Raises:
        MetadataConflict: a value has another type than its field, or the collection would have too many fields.
    """
    merged = dict(fields)
    found: list[FieldViolation] = []
    for name, value in metadata.items():
        kind = merged.setdefault(name, type_of(value))
        if kind is not type_of(value):
            found.append(FieldViolation(f"{path}[{name}]", f"must be a {kind.value}, as in the collection"))
    if len(merged) > MAX_FIELDS:
        found.append(FieldViolation(path, f"the collection would have more than {MAX_FIELDS} fields"))
    if found:
        raise MetadataConflict(f"{found[0].field}: {found[0].description}", found)
    return merged
