"""Values as words that Weaviate's inverted index compares as the oracle compares the values.

Rule 1: equality, membership and existence look for an opaque word (`fact`) in one list, whatever the field's name.
Rule 2: order looks at a word that begins with the field's name (`ordered`): byte order within one field is the values'
        order, and no word of another field lies between two of it. Hexadecimal, because the index trims white space and
        drops empty words.
Rule 3: a document's fields lie in slots by rank, its n-th name in the alphabet in slot n. So 32 properties serve every
        collection, nobody has to agree on a mapping, and a name lies in one of the slots up to its rank among the
        collection's names.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from retriever.filters import MAX_FIELDS, MAX_STRING_CHARS
from retriever.types import BUILTIN_FIELDS, Chunk, DocumentRecord, Scalar

SLOTS: Final = tuple(f"slot_{n:02}" for n in range(MAX_FIELDS))
BUILTIN_PROPERTIES: Final[Mapping[str, str]] = {name: f"field_{name}" for name in BUILTIN_FIELDS}
_TOLD_CHARS: Final = MAX_STRING_CHARS + 1  # what a filter compares with is shorter, so that no comparison differs
_FACT_BYTES: Final = 16  # two facts of one collection meet by chance once in 2^64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SIGN: Final = 1 << 63
_ALL_BITS: Final = (1 << 64) - 1


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The moment `to_micros` came from."""
    return _EPOCH + timedelta(microseconds=micros)


def sortable(value: Scalar) -> str:
    """A word in whose byte order values of one type have their own order."""
    match value:
        case bool():
            return str(int(value))
        case str():
            return value[:_TOLD_CHARS].encode().hex()  # UTF-8 sorts by code point
        case datetime():
            return f"{to_micros(value) + _SIGN:016x}"
        case number:
            (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))  # + 0.0: there is one zero
            return f"{bits ^ _ALL_BITS if bits & _SIGN else bits | _SIGN:016x}"


def fact(field: str, value: Scalar | None = None) -> str:
    """The word that says "the field has this value", or without one "the field has a value"."""
    text = field if value is None else f"{field}={sortable(value)}"
    return hashlib.blake2b(text.encode(), digest_size=_FACT_BYTES).hexdigest()


def first_word(field: str) -> str:
    """Not after any word of the field."""
    return f"{field.encode().hex()}."


def end_word(field: str) -> str:
    """After every word of the field, and before those of any other field that sorts behind it."""
    return f"{field.encode().hex()}/"  # "/" follows "."


def ordered(field: str, value: Scalar) -> str:
    """The word of a value in a slot."""
    return first_word(field) + sortable(value)


def values_of(record: DocumentRecord, chunk: Chunk) -> dict[str, Scalar]:
    """Everything a filter may look at; an empty built-in field is missing (retriever.filters, rule 2)."""
    built_in: dict[str, Scalar] = {
        name: getattr(record, name)
        for name in BUILTIN_FIELDS
        if name not in ("section", "page") and getattr(record, name)
    }
    if chunk.section:
        built_in["section"] = chunk.section
    if chunk.page:
        built_in["page"] = float(chunk.page)
    return {**record.metadata, **built_in}


def ordered_properties(record: DocumentRecord, values: Mapping[str, Scalar]) -> Iterator[tuple[str, str]]:
    """Property and word for every value that can be compared by order."""
    for name in values.keys() & BUILTIN_FIELDS.keys():
        yield BUILTIN_PROPERTIES[name], ordered(name, values[name])
    for slot, name in zip(SLOTS, sorted(record.metadata), strict=False):
        yield slot, ordered(name, record.metadata[name])


def properties_for(field: str, known: Mapping[str, object]) -> tuple[str, ...]:
    """The properties a field's word may be in, where the collection's fields are `known`."""
    if field in BUILTIN_PROPERTIES:
        return (BUILTIN_PROPERTIES[field],)
    if field not in known:
        return SLOTS
    return SLOTS[: sum(name <= field for name in known)]
