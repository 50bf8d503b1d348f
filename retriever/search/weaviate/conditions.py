"""What a reader may see, as Weaviate's filter message: snapshot, groups and the caller's filter in one tree.

Rule 1: values are fields of the message, never text of a query.
Rule 2: no condition is applied to a value that is missing: the facts of rule 1 in terms.py say what is there, so that
        NOT is the oracle's not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from weaviate.proto.v1.v6300.v1 import base_pb2 as pb

from retriever.search.weaviate.terms import end_word, fact, first_word, ordered, properties_for
from retriever.types import And, Comparison, Filter, Not, Operator, Or, Scope, Snapshot

BORN: Final = "born"
VERSION: Final = "version"
POSITION: Final = "position"
GROUPS: Final = "groups"
FACTS: Final = "facts"
_Kind = pb.Filters.Operator
NARROW: Final = 32  # an excluded range up to this wide is listed
NOWHERE: Final = "nothing"  # no fact is this word


def visible(scope: Scope) -> pb.Filters:
    """Holds for the chunks of `scope`."""
    return every(
        [
            *seen_by(scope.snapshot),
            any_text(GROUPS, [group_word(group) for group in scope.groups]),
            compile_filter(scope.filter, scope.fields),
        ]
    )


def seen_by(snapshot: Snapshot) -> Iterable[pb.Filters]:
    """`Snapshot.sees`."""
    yield compared(BORN, pb.Filters.OPERATOR_LESS_THAN_EQUAL, snapshot.high)
    if snapshot.excluded:
        yield negated(some(_in_ranges(snapshot.excluded)))
    if snapshot.dead:
        yield negated(any_number(VERSION, sorted(snapshot.dead)))


def _in_ranges(ranges: Sequence[tuple[int, int]]) -> list[pb.Filters]:
    """In one of these: every aborted transaction leaves a range for good, most of them of one number. Such are looked
    up in one list; a range compares bit by bit."""
    narrow = [number for first, last in ranges if last - first < NARROW for number in range(first, last + 1)]
    wide = [between(BORN, first, last) for first, last in ranges if last - first >= NARROW]
    return [*([any_number(BORN, narrow)] if narrow else []), *wide]


def among(versions: Sequence[int]) -> pb.Filters:
    """One of these versions; a `range` is compared by its ends, however long."""
    if isinstance(versions, range):
        return between(VERSION, versions.start, versions.stop - 1)
    return any_number(VERSION, versions)


def group_word(group: str) -> str:
    """A group's name as a word that no tokenizer changes."""
    return f"g{group.encode().hex()}"


def compile_filter(filter: Filter, fields: Mapping[str, object]) -> pb.Filters:
    """A condition that holds exactly where `retriever.filters.matches` is true."""
    match filter:
        case And(parts):
            return every([compile_filter(part, fields) for part in parts])
        case Or(parts):
            return some([compile_filter(part, fields) for part in parts])
        case Not(part):
            return negated(compile_filter(part, fields))
        case Comparison():
            return _comparison(filter, fields)


def _comparison(comparison: Comparison, fields: Mapping[str, object]) -> pb.Filters:
    field, values = comparison.field, comparison.values
    match comparison.operator:
        case Operator.EXISTS:
            return any_text(FACTS, [fact(field)])
        case Operator.EQ | Operator.IN:
            return any_text(FACTS, [fact(field, value) for value in values])
        case Operator.NE:
            return negated(any_text(FACTS, [fact(field, values[0])]))
        case Operator.LT | Operator.LE as operator:
            kind = pb.Filters.OPERATOR_LESS_THAN if operator is Operator.LT else pb.Filters.OPERATOR_LESS_THAN_EQUAL
            low, high = (pb.Filters.OPERATOR_GREATER_THAN_EQUAL, first_word(field)), (kind, ordered(field, values[0]))
        case operator:
            kind = pb.Filters.OPERATOR_GREATER_THAN
            kind = kind if operator is Operator.GT else pb.Filters.OPERATOR_GREATER_THAN_EQUAL
            low, high = (kind, ordered(field, values[0])), (pb.Filters.OPERATOR_LESS_THAN, end_word(field))
    return some(
        [
            every([worded(name, low[0], low[1]), worded(name, high[0], high[1])])
            for name in properties_for(field, fields)
        ]
    )


def every(parts: Sequence[pb.Filters]) -> pb.Filters:
    """All of them; without any, everything."""
    return _joined(pb.Filters.OPERATOR_AND, parts) if parts else negated(any_text(FACTS, [NOWHERE]))


def some(parts: Sequence[pb.Filters]) -> pb.Filters:
    """At least one of them; without any, nothing."""
    return _joined(pb.Filters.OPERATOR_OR, parts) if parts else any_text(FACTS, [NOWHERE])


def _joined(kind: _Kind, parts: Sequence[pb.Filters]) -> pb.Filters:
    return parts[0] if len(parts) == 1 else pb.Filters(operator=kind, filters=parts)


def negated(part: pb.Filters) -> pb.Filters:
    return pb.Filters(operator=pb.Filters.OPERATOR_NOT, filters=[part])


def between(name: str, first: int, last: int) -> pb.Filters:
    low = compared(name, pb.Filters.OPERATOR_GREATER_THAN_EQUAL, first)
    return every([low, compared(name, pb.Filters.OPERATOR_LESS_THAN_EQUAL, last)])


def compared(name: str, kind: _Kind, number: int) -> pb.Filters:
    return pb.Filters(operator=kind, target=_target(name), value_int=number)


def worded(name: str, kind: _Kind, word: str) -> pb.Filters:
    return pb.Filters(operator=kind, target=_target(name), value_text=word)


def any_text(name: str, words: Sequence[str]) -> pb.Filters:
    """One of these words is in the property; without words, nothing."""
    kind = pb.Filters.OPERATOR_CONTAINS_ANY
    return pb.Filters(operator=kind, target=_target(name), value_text_array=pb.TextArray(values=words or [NOWHERE]))


def any_number(name: str, numbers: Sequence[int]) -> pb.Filters:
    kind = pb.Filters.OPERATOR_CONTAINS_ANY
    return pb.Filters(operator=kind, target=_target(name), value_int_array=pb.IntArray(values=numbers or [-1]))


def _target(name: str) -> pb.FilterTarget:
    return pb.FilterTarget(property=name)
