"""Typed values and filters, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf import timestamp_pb2
from rag.retriever.v1 import filter_pb2 as pb

from retriever.filters import MAX_NODES
from retriever.types import And, Comparison, FieldType, Filter, Not, Operator, Or, Scalar
from retriever.wire.checks import Violations

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND: Final = -62_135_596_800  # 0001-01-01, Timestamp's own range
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31
_NANOS: Final = 1_000_000_000
ROOT: Final = "filter"  # where the tree is in its request

OPERATORS: Final = {getattr(pb, f"OPERATOR_{operator.name}"): operator for operator in Operator}
FIELD_TYPES: Final = {kind: getattr(pb, f"FIELD_TYPE_{kind.name}") for kind in FieldType}


def to_scalar(value: pb.Value) -> Scalar | str:
    """The value, or raises ValueError saying what is wrong with it."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
        case "time_value":
            return to_datetime(value.time_value)
        case _:
            raise ValueError("must hold a string, number, bool or time")


def to_datetime(moment: timestamp_pb2.Timestamp) -> datetime:
    """The moment at microseconds. Raises ValueError outside the years 1 to 9999."""
    if not (_FIRST_SECOND <= moment.seconds <= _LAST_SECOND and 0 <= moment.nanos < _NANOS):
        raise ValueError("must be a moment of the years 1 to 9999")
    return EPOCH + timedelta(seconds=moment.seconds, microseconds=moment.nanos // 1_000)


def to_timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    since = moment - EPOCH
    return timestamp_pb2.Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def from_scalar(value: Scalar) -> pb.Value:
    match value:
        case bool():
            return pb.Value(bool_value=value)
        case str():
            return pb.Value(string_value=value)
        case datetime():
            return pb.Value(time_value=to_timestamp(value))
        case _:
            return pb.Value(number_value=value)


def to_filter(message: pb.Filter, found: Violations) -> Filter:
    """The tree; what is wrong with it in itself goes to `found`. Fields and types are the collection's to check."""
    return _FilterReader(found).read(message, ROOT)


class _FilterReader:
    def __init__(self, found: Violations) -> None:
        self._found = found
        self._nodes = 0

    def read(self, message: pb.Filter, path: str) -> Filter:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._found.add_filter("filter", f"has more than {MAX_NODES} nodes")
            return And()  # a filter as large as the message would cost more to read than to refuse
        match message.WhichOneof("node"):
            case "and":
                return And(self._parts(getattr(message, "and").filters, f"{path}.and"))
            case "or":
                return Or(self._parts(getattr(message, "or").filters, f"{path}.or"))
            case "not":
                return Not(self.read(getattr(message, "not"), f"{path}.not"))
            case "comparison":
                return self._comparison(message.comparison, f"{path}.comparison")
            case _ if path == ROOT:
                return And()
            case _:  # matching everything here would turn a slip into a filter that lets all through, or none
                self._found.add_filter(path, "is empty: set one of and, or, not and comparison")
                return And()

    def _parts(self, messages: list[pb.Filter], path: str) -> tuple[Filter, ...]:
        return tuple(
            self.read(part, f"{path}.filters[{index}]") for index, part in enumerate(messages[: MAX_NODES + 1])
        )

    def _comparison(self, message: pb.Comparison, path: str) -> Filter:
        operator = OPERATORS.get(message.operator)
        if operator is None:
            self._found.add_filter(f"{path}.operator", "must be one of EQ, NE, IN, LT, LE, GT, GE, EXISTS")
            return And()
        if operator is Operator.IN and message.HasField("value"):
            self._found.add_filter(f"{path}.value", "IN takes `values`")
        if operator is not Operator.IN and message.values:
            self._found.add_filter(f"{path}.values", "are for IN only")
        single = [message.value] if message.HasField("value") else []
        given = list(message.values) if operator is Operator.IN else single
        values = tuple(self._value(value, path) for value in given)
        return Comparison(message.field, operator, values)

    def _value(self, value: pb.Value, path: str) -> Scalar:
        try:
            return to_scalar(value)
        except ValueError as exc:
            self._found.add_filter(f"{path}.value", str(exc))
            return ""
