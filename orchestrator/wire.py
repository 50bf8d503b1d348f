"""Messages to domain values and back. Every bad field of a request is listed, not only the first."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC

from rag.orchestrator.v1 import filter_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import FieldViolation, FilterInvalid, InvalidRequest
from chassis.identity import Identity
from orchestrator.redaction import redact
from orchestrator.types import (
    EVERYTHING,
    And,
    CachePolicy,
    Comparison,
    Filter,
    Not,
    Operator,
    Or,
    Question,
    Sampling,
    Scalar,
)

MAX_QUESTION_CHARS = 4_096
MAX_TOP_K = 100
DEFAULT_TOP_K = 5
MAX_TOKENS = 4_096
MAX_TEMPERATURE = 2.0
MAX_FILTER_NODES = 64
MAX_FILTER_DEPTH = 8
MAX_IN_VALUES = 256
MAX_VALUE_CHARS = 1_024

_COLLECTION = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_POLICIES = {
    pb.CACHE_POLICY_UNSPECIFIED: CachePolicy.DEFAULT,
    pb.CACHE_POLICY_DEFAULT: CachePolicy.DEFAULT,
    pb.CACHE_POLICY_BYPASS: CachePolicy.BYPASS,
    pb.CACHE_POLICY_REFRESH: CachePolicy.REFRESH,
}
_OPERATORS = {filter_pb2.Operator.Value(f"OPERATOR_{operator.name}"): operator for operator in Operator}
_ORDERED = {Operator.LT, Operator.LE, Operator.GT, Operator.GE}


@dataclass(slots=True)
class _Problems:
    """What is wrong with a request, collected."""

    fields: list[FieldViolation] = field(default_factory=list)
    filters: list[FieldViolation] = field(default_factory=list)

    def add(self, name: str, description: str) -> None:
        self.fields.append(FieldViolation(name, description))

    def in_filter(self, name: str, description: str) -> None:
        self.filters.append(FieldViolation(name, description))

    def raise_if_any(self) -> None:
        """FilterInvalid when the filter alone is wrong; both kinds are listed in either case."""
        found = [*self.fields, *self.filters]
        if not found:
            return
        message = "; ".join(f"{violation.field}: {violation.description}" for violation in found)
        raise (InvalidRequest if self.fields else FilterInvalid)(message, found)


def question_from_wire(request: pb.AskRequest, identity: Identity, request_id: str, *, defaults: Sampling) -> Question:
    """A validated question, personal data redacted. Raises InvalidRequest or FilterInvalid, listing every bad field."""
    problems = _Problems()
    _check_collection(request.collection, problems)
    if not request.question.strip():
        problems.add("question", "required: 1 to 4,096 characters that are not all white space")
    elif len(request.question) > MAX_QUESTION_CHARS:
        problems.add("question", f"{len(request.question)} characters; at most 4,096 are taken")
    if not 0 <= request.top_k <= MAX_TOP_K:
        problems.add("top_k", "must be 1 to 100, or 0 for the default of 5")
    if request.cache_policy not in _POLICIES:
        problems.add("cache_policy", "no such policy")
    if request.request_id and not _REQUEST_ID.fullmatch(request.request_id):
        problems.add("request_id", "1 to 64 characters of a-z, A-Z, 0-9, '_', '-' and '.'")
    sampling = _sampling(request.limits, defaults, problems)
    wanted = _root(request, problems)
    problems.raise_if_any()
    text, redacted = redact(_composed(request.question.strip()))
    return Question(
        identity=identity,
        collection=request.collection,
        text=text,
        request_id=request.request_id or request_id,
        top_k=request.top_k or DEFAULT_TOP_K,
        filter=wanted,
        cache_policy=_POLICIES[request.cache_policy],
        sampling=sampling,
        redacted=redacted,
    )


def _composed(text: str) -> str:
    """In the form most documents are written in (NFC), so that words of both meet; a few signs of it are longer."""
    return min(unicodedata.normalize("NFC", text), text, key=len)


def check_eviction(request: pb.EvictAnswerRequest) -> None:
    """Raises InvalidRequest, listing every bad field."""
    problems = _Problems()
    _check_collection(request.collection, problems)
    if not request.answer_id or len(request.answer_id) > 64:
        problems.add("answer_id", "required: the id of an answer, at most 64 characters")
    problems.raise_if_any()


def _check_collection(name: str, problems: _Problems) -> None:
    if not _COLLECTION.fullmatch(name):
        problems.add("collection", "1 to 64 characters of a-z, 0-9, '_' and '-', beginning with a letter or digit")


def _sampling(limits: pb.GenerationLimits, defaults: Sampling, problems: _Problems) -> Sampling:
    if not 0 <= limits.max_tokens <= MAX_TOKENS:
        problems.add("limits.max_tokens", "must be 1 to 4,096, or 0 for the default")
    temperature = limits.temperature if limits.HasField("temperature") else defaults.temperature
    if not 0 <= temperature <= MAX_TEMPERATURE:  # false for NaN too
        problems.add("limits.temperature", "must be 0 to 2")
    return Sampling(
        max_tokens=limits.max_tokens or defaults.max_tokens,
        temperature=temperature,
        seed=limits.seed if limits.HasField("seed") else None,
    )


def _root(request: pb.AskRequest, problems: _Problems) -> Filter:
    if not request.HasField("filter") or request.filter.WhichOneof("node") is None:
        return EVERYTHING
    return _Filters(problems).read(request.filter, "filter", 1)


class _Filters:
    """Reads one filter tree, counting its nodes."""

    def __init__(self, problems: _Problems) -> None:
        self._problems = problems
        self._nodes = 0

    def read(self, node: filter_pb2.Filter, path: str, depth: int) -> Filter:
        self._nodes += 1
        if self._nodes > MAX_FILTER_NODES or depth > MAX_FILTER_DEPTH:
            if not any(violation.field == "filter" for violation in self._problems.filters):
                self._problems.in_filter("filter", "too large: at most 64 nodes and 8 levels")
            return EVERYTHING
        match node.WhichOneof("node"):
            case "and":
                return And(self._parts(getattr(node, "and"), f"{path}.and", depth))  # a keyword in Python
            case "or":
                return Or(self._parts(getattr(node, "or"), f"{path}.or", depth))
            case "not":
                return Not(self.read(getattr(node, "not"), f"{path}.not", depth + 1))
            case "comparison":
                return self._comparison(node.comparison, f"{path}.comparison")
        self._problems.in_filter(path, "empty: set one of and, or, not, comparison")
        return EVERYTHING

    def _parts(self, parts: filter_pb2.FilterList, path: str, depth: int) -> tuple[Filter, ...]:
        return tuple(
            self.read(part, f"{path}.filters[{index}]", depth + 1)
            for index, part in enumerate(parts.filters[: MAX_FILTER_NODES + 1])
        )

    def _comparison(self, message: filter_pb2.Comparison, path: str) -> Filter:
        operator = _OPERATORS.get(message.operator)
        if not _FIELD.fullmatch(message.field):
            self._problems.in_filter(f"{path}.field", "1 to 64 characters of a-z, A-Z, 0-9, '_', '-' and '.'")
        if operator is None:
            self._problems.in_filter(f"{path}.operator", "required")
            return EVERYTHING
        return Comparison(message.field, operator, tuple(self._values(message, operator, path)))

    def _values(self, message: filter_pb2.Comparison, operator: Operator, path: str) -> Iterator[Scalar]:
        if operator is Operator.EXISTS:
            if message.HasField("value") or message.values:
                self._problems.in_filter(path, "exists takes no value")
            return
        if operator is Operator.IN:
            yield from self._list(message, path)
            return
        if message.values:
            self._problems.in_filter(f"{path}.values", "only for the operator in; use value")
        value = self._value(message.value, f"{path}.value")
        if operator in _ORDERED and isinstance(value, bool):
            self._problems.in_filter(f"{path}.value", "bools have no order: compare with eq or ne")
        if value is not None:
            yield value

    def _list(self, message: filter_pb2.Comparison, path: str) -> Iterator[Scalar]:
        if message.HasField("value") or not 1 <= len(message.values) <= MAX_IN_VALUES:
            self._problems.in_filter(f"{path}.values", "the operator in takes 1 to 256 values, and no value")
        found = [
            self._value(value, f"{path}.values[{index}]") for index, value in enumerate(message.values[:MAX_IN_VALUES])
        ]
        if len({type(value) for value in found}) > 1:
            self._problems.in_filter(f"{path}.values", "must all be of one type")
        yield from (value for value in found if value is not None)

    def _value(self, message: filter_pb2.Value, path: str) -> Scalar | None:
        match message.WhichOneof("kind"):
            case "string_value" if len(message.string_value) <= MAX_VALUE_CHARS:
                return message.string_value
            case "number_value" if math.isfinite(message.number_value):
                return message.number_value
            case "bool_value":
                return message.bool_value
            case "time_value":
                try:
                    return message.time_value.ToDatetime(tzinfo=UTC)
                except (ValueError, OverflowError):
                    pass
        self._problems.in_filter(path, "must be text of at most 1,024 characters, a finite number, a bool or a time")
        return None
