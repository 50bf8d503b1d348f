"""Filters as SQL, equal to the oracle retriever.filters.matches on every valid tree.

Rule 1: field names and values are parameters; the SQL text comes from constants alone.
Rule 2: every piece yields 0 or 1, never NULL, so that NOT is the oracle's not.
The caller joins `v` (versions) and, when `names_chunk_fields`, `c` (chunks).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from retriever.search.embedded.schema import Clause
from retriever.types import BUILTIN_FIELDS, CHUNK_FIELDS, And, Comparison, Filter, Not, Operator, Or, Scalar

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNS: Final[Mapping[Operator, str]] = {
    Operator.EQ: "=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}
# Built-in fields by their columns; an empty one is missing (retriever.filters, rule 2).
_COLUMNS: Final[Mapping[str, str]] = {
    name: "NULLIF(c.page, 0)" if name == "page" else f"NULLIF({'c' if name in CHUNK_FIELDS else 'v'}.{name}, '')"
    for name in BUILTIN_FIELDS
}
_METADATA: Final = (
    "(SELECT m.value FROM metadata m WHERE m.collection = v.collection AND m.version = v.version AND m.name = ?)"
)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly (floats lose them after 2255)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The moment `to_micros` came from, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def stored(value: Scalar) -> str | float | int:
    """A metadata value as SQLite keeps and compares it: by code point, as a double, as 0 or 1, as microseconds."""
    match value:
        case bool():
            return int(value)
        case datetime():
            return to_micros(value)
        case str():
            return value
        case number:
            return float(number)


def names_chunk_fields(filter: Filter) -> bool:
    """Whether the filter looks at chunks and not at documents alone."""
    match filter:
        case And(parts) | Or(parts):
            return any(names_chunk_fields(part) for part in parts)
        case Not(part):
            return names_chunk_fields(part)
        case Comparison(field):
            return field in CHUNK_FIELDS


def compile_filter(filter: Filter) -> Clause:
    """A condition that holds exactly where `matches` is true."""
    match filter:
        case And(parts):
            return _joined(parts, " AND ", "1")
        case Or(parts):
            return _joined(parts, " OR ", "0")
        case Not(part):
            inner = compile_filter(part)
            return Clause(f"NOT ({inner.sql})", inner.params)
        case Comparison():
            return _comparison(filter)


def _joined(parts: tuple[Filter, ...], word: str, empty: str) -> Clause:
    pieces = [compile_filter(part) for part in parts]
    if not pieces:
        return Clause(empty)
    return Clause(f"({word.join(p.sql for p in pieces)})", tuple(value for p in pieces for value in p.params))


def _comparison(comparison: Comparison) -> Clause:
    column = _COLUMNS.get(comparison.field)
    operand = Clause(column) if column else Clause(_METADATA, (comparison.field,))
    values = tuple(stored(value) for value in comparison.values)
    match comparison.operator:
        case Operator.EXISTS:
            return Clause(f"({operand.sql} IS NOT NULL)", operand.params)
        case Operator.NE:
            return Clause(f"COALESCE({operand.sql} <> ?, 1)", (*operand.params, *values))
        case Operator.IN:
            marks = ", ".join("?" * len(values))
            return Clause(f"COALESCE({operand.sql} IN ({marks}), 0)", (*operand.params, *values))
        case ordered:
            return Clause(f"COALESCE({operand.sql} {_SIGNS[ordered]} ?, 0)", (*operand.params, *values))
