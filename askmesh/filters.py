"""Filters as Python expressions: `(where("year") >= 2024) & where("source").is_in("handbook", "wiki")`.

The tree is the contract's own (rag.orchestrator.v1.Filter); nothing here is ever a query string.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rag.orchestrator.v1 import filter_pb2 as pb
from rag.retriever.v1 import filter_pb2 as retriever_pb

from chassis.errors import FilterInvalid

Scalar = str | int | float | bool | datetime
"""A value to compare with. A datetime without a zone is taken as UTC."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter; combine with `&`, `|` and `~`."""

    tree: pb.Filter

    def __and__(self, other: Condition) -> Condition:
        return _joined("and", [self.tree, other.tree])

    def __or__(self, other: Condition) -> Condition:
        return _joined("or", [self.tree, other.tree])

    def __invert__(self) -> Condition:
        tree = pb.Filter()
        getattr(tree, "not").CopyFrom(self.tree)  # a keyword of Python, so it has no attribute syntax
        return Condition(tree)

    def for_retriever(self) -> retriever_pb.Filter:
        """The same tree in the retriever's own package: the two are equal on the wire."""
        return retriever_pb.Filter.FromString(self.tree.SerializeToString())


@dataclass(frozen=True, slots=True)
class where:  # noqa: N801 - reads as a word of the expression, like the builtins it sits beside
    """A metadata or built-in field, to be compared."""

    field: str

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]  # an expression, not a truth value
        return self._compare(pb.OPERATOR_EQ, value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]  # an expression, not a truth value
        return self._compare(pb.OPERATOR_NE, value)

    def __lt__(self, value: Scalar) -> Condition:
        return self._compare(pb.OPERATOR_LT, value)

    def __le__(self, value: Scalar) -> Condition:
        return self._compare(pb.OPERATOR_LE, value)

    def __gt__(self, value: Scalar) -> Condition:
        return self._compare(pb.OPERATOR_GT, value)

    def __ge__(self, value: Scalar) -> Condition:
        return self._compare(pb.OPERATOR_GE, value)

    def __hash__(self) -> int:
        return hash(self.field)

    def is_in(self, *values: Scalar) -> Condition:
        """The field has one of these values (1 to 256, of one type)."""
        with _fitting_text():
            comparison = pb.Comparison(
                field=self.field, operator=pb.OPERATOR_IN, values=[_value(value) for value in values]
            )
        return Condition(pb.Filter(comparison=comparison))

    def exists(self) -> Condition:
        """The field has a value."""
        with _fitting_text():
            return Condition(pb.Filter(comparison=pb.Comparison(field=self.field, operator=pb.OPERATOR_EXISTS)))

    def _compare(self, operator: pb.Operator.ValueType, value: object) -> Condition:
        with _fitting_text():
            comparison = pb.Comparison(field=self.field, operator=operator, value=_value(value))
        return Condition(pb.Filter(comparison=comparison))


@contextmanager
def _fitting_text() -> Iterator[None]:
    try:
        yield
    except ValueError as exc:  # protobuf: half of a surrogate pair, as the bytes of a terminal may be
        raise FilterInvalid.field("filter", "must be valid Unicode text") from exc


def _joined(node: str, parts: list[pb.Filter]) -> Condition:
    tree = pb.Filter()
    getattr(tree, node).filters.extend(parts)
    return Condition(tree)


def _value(value: object) -> pb.Value:
    match value:
        case bool():  # before int: True is one
            return pb.Value(bool_value=value)
        case int() | float():
            return pb.Value(number_value=float(value))
        case str():
            return pb.Value(string_value=value)
        case datetime():
            moment = pb.Value()
            moment.time_value.FromDatetime(value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))
            return moment
    raise FilterInvalid.field("value", "compare with a str, a number, a bool or a datetime")


def metadata_value(value: Scalar) -> retriever_pb.Value:
    """A metadata value for a document."""
    return retriever_pb.Value.FromString(_value(value).SerializeToString())


def parse_condition(text: str) -> Condition:
    """A condition as the command line has it: "year>=2024", "source=handbook", "lang in en,de", "year exists".

    A value reads as a bool (true, false), a number, an ISO 8601 moment or date with a "-" in it, else as a
    string; quotes make it a string.

    Raises:
        FilterInvalid: there is no operator, or no field.
    """
    field, _, rest = text.strip().partition(" ")
    if rest.strip() == "exists":
        return where(field).exists()
    if rest.strip().startswith("in "):
        return where(field).is_in(*(parse_value(part) for part in rest.strip()[3:].split(",")))
    for symbol, method in _SYMBOLS:
        name, found, value = text.partition(symbol)
        if found and name.strip():
            condition = getattr(where(name.strip()), method)(parse_value(value))
            assert isinstance(condition, Condition)
            return condition
    raise FilterInvalid.field(
        "filter", 'write field=value, with one of = != < <= > >=, or "field in a,b", or "field exists"'
    )


_SYMBOLS = (  # longest first, so that "<=" is not read as "<"
    ("!=", "__ne__"),
    ("<=", "__le__"),
    (">=", "__ge__"),
    ("=", "__eq__"),
    ("<", "__lt__"),
    (">", "__gt__"),
)


def parse_value(text: str) -> Scalar:
    """A value as the command line has it; see `parse_condition`."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text) if "-" in text else text
    except ValueError:
        return text
