"""Scopes as queries, equal to the oracle retriever.filters.matches on every valid tree.

Every value that a filter may name is a word of one keyword field, `values`: its field's name, a separator, the value
in a form that sorts as it compares. So there are no fields to map, whatever metadata is called; a missing value is a
missing word; and a comparison is a term or a range between words of one name. Words compare as UTF-8, hence by code
point.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from retriever.filters import MAX_STRING_CHARS
from retriever.types import (
    BUILTIN_FIELDS,
    CHUNK_FIELDS,
    And,
    Comparison,
    DocumentRecord,
    Filter,
    Not,
    Operator,
    Or,
    Scalar,
    Snapshot,
    version_of,
)

Query = dict[str, Any]

_AFTER_NAME: Final = "\x1f"  # sorts before everything a name is made of, so no name's words lie among another's
_AFTER_VALUES: Final = "\x20"  # the next one: the end of a name's words
_FIRST_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)
# Lucene takes no word above 32,766 bytes. What a filter compares with is shorter than this, so no comparison differs.
_TOLD_CHARS: Final = MAX_STRING_CHARS + 1
_NARROW: Final = 32  # an excluded range up to this wide is listed: a bool takes 1,024 ranges, a list 65,536 words
_SIGN: Final = 1 << 63
_ALL_BITS: Final = (1 << 64) - 1

EVERYTHING: Final[Query] = {"match_all": {}}
NOTHING: Final[Query] = {"match_none": {}}


def values_of(record: DocumentRecord, *, section: str = "", page: int = 0) -> list[str]:
    """The words of everything a filter may name; an empty built-in field is missing (retriever.filters, rule 2)."""
    built_in = {name: getattr(record, name) for name in BUILTIN_FIELDS if name not in CHUNK_FIELDS}
    chunk = {"section": section, "page": float(page)}
    present = {name: value for name, value in {**built_in, **chunk}.items() if value}
    return [_word(name, value) for name, value in {**present, **record.metadata}.items()]


def seen_by(snapshot: Snapshot) -> Query:
    """`Snapshot.sees`."""
    hidden: list[Query] = [{"terms": {"version": sorted(snapshot.dead)}}] if snapshot.dead else []
    listed: list[int] = []
    for first, last in snapshot.excluded:
        if last - first < _NARROW:
            listed += range(first, last + 1)
        else:
            hidden.append({"range": {"version": _span(first, last)}})
    hidden += [{"terms": {"born": listed}}] if listed else []
    return {"bool": {"filter": [{"range": {"version": {"lt": version_of(snapshot.high + 1, 0)}}}], "must_not": hidden}}


def _span(first: int, last: int) -> Mapping[str, int]:
    return {"gte": version_of(first, 0), "lt": version_of(last + 1, 0)}


def of_versions(versions: Sequence[int]) -> Query:
    """One of these versions; a `range` is compared by its ends, however long."""
    if isinstance(versions, range):
        return {"range": {"version": {"gte": versions.start, "lt": versions.stop}}}
    return {"terms": {"version": list(versions)}}


def readable_by(groups: Sequence[str]) -> Query:
    """May be read by one of these groups."""
    return {"terms": {"groups": list(groups)}}


def all_of(queries: Iterable[Query]) -> Query:
    return {"bool": {"filter": list(queries)}}


def compiled(filter: Filter) -> Query:
    """A condition that holds exactly where `matches` is true."""
    match filter:
        case And(()):
            return EVERYTHING
        case Or(()):
            return NOTHING
        case And(parts):
            return all_of(compiled(part) for part in parts)
        case Or(parts):
            return {"bool": {"should": [compiled(part) for part in parts], "minimum_should_match": 1}}
        case Not(part):
            return _not(compiled(part))
        case Comparison():
            return _comparison(filter)


def _not(query: Query) -> Query:
    return {"bool": {"must_not": [query]}}


def _comparison(comparison: Comparison) -> Query:
    name = comparison.field
    first, end = name + _AFTER_NAME, name + _AFTER_VALUES
    words = [_word(name, value) for value in comparison.values]
    match comparison.operator:
        case Operator.EXISTS:
            return _between(gte=first, lt=end)
        case Operator.EQ | Operator.IN:
            return {"terms": {"values": words}}
        case Operator.NE:
            return _not({"terms": {"values": words}})
        case Operator.LT:
            return _between(gte=first, lt=words[0])
        case Operator.LE:
            return _between(gte=first, lte=words[0])
        case Operator.GT:
            return _between(gt=words[0], lt=end)
        case Operator.GE:
            return _between(gte=words[0], lt=end)


def _between(**ends: str) -> Query:
    return {"range": {"values": ends}}


def _word(name: str, value: Scalar) -> str:
    return f"{name}{_AFTER_NAME}{_sortable(value)}"


def _sortable(value: Scalar) -> str:
    """The value as text that compares as the value does."""
    match value:
        case bool():
            return str(int(value))
        case str():
            return value[:_TOLD_CHARS]
        case datetime():
            return f"{(value - _FIRST_MOMENT) // timedelta(microseconds=1):018d}"
        case number:
            return f"{_ordered_bits(float(number)):016x}"


def _ordered_bits(number: float) -> int:
    """A double's bits, changed so that they order as unsigned integers (IEEE 754 orders by sign and magnitude)."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))  # -0.0 + 0.0 is 0.0: the two are equal
    return int(bits ^ _ALL_BITS if bits & _SIGN else bits | _SIGN)
