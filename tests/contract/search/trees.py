"""Filters and documents for hypothesis: few fields and few values, so that conditions often meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from retriever.types import (
    BUILTIN_FIELDS,
    CHUNK_FIELDS,
    And,
    Comparison,
    FieldType,
    Filter,
    Not,
    Operator,
    Or,
    Scalar,
)

FIELDS = {
    "team": FieldType.STRING,
    "k.e-y_1": FieldType.STRING,
    "year": FieldType.NUMBER,
    "open": FieldType.BOOL,
    "since": FieldType.TIME,
}
_NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
VALUES: dict[FieldType, Sequence[Scalar]] = {
    FieldType.STRING: ["", "a", "A", "ab", "ä", "\U0001f600", "\uffff", "a'b\"c", "\x00", "%", "1", "NULL"],
    FieldType.NUMBER: [0.0, -0.0, 1.0, -1.5, 2.0**53, 2.0**53 - 1, 1e308, 5e-324, 2024.0],
    FieldType.BOOL: [True, False],
    FieldType.TIME: [
        _NOON,
        _NOON + timedelta(microseconds=1),
        _NOON - timedelta(days=40_000),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999998, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
}
BUILTIN_VALUES: dict[str, Sequence[Scalar]] = {
    "document_id": ["d0", "d1", "d10", "d5", "x"],
    "title": ["", "a", "ä", "b"],
    "uri": ["", "a"],
    "source": ["", "a", "A"],
    "content_type": ["text/plain", "text/html"],
    "section": ["", "a", "a > b"],
    "page": [0.0, 1.0, 2.0, 3.0],
}


def comparisons(*, chunk_fields: bool = True) -> st.SearchStrategy[Filter]:
    """Valid comparisons of every field, operator and value."""
    names = sorted({*FIELDS, *BUILTIN_FIELDS} - (set() if chunk_fields else CHUNK_FIELDS))
    return st.sampled_from(names).flatmap(_comparison)


def _comparison(name: str) -> st.SearchStrategy[Filter]:
    kind = FIELDS.get(name) or BUILTIN_FIELDS[name]
    values = st.sampled_from(list(BUILTIN_VALUES.get(name) or VALUES[kind]))
    one = [Operator.EQ, Operator.NE]
    if kind is not FieldType.BOOL:
        one += [Operator.LT, Operator.LE, Operator.GT, Operator.GE]
    return st.one_of(
        st.builds(lambda op, value: Comparison(name, op, (value,)), st.sampled_from(one), values),
        st.builds(lambda many: Comparison(name, Operator.IN, tuple(many)), st.lists(values, min_size=1, max_size=3)),
        st.just(Comparison(name, Operator.EXISTS)),
    )


def filters(*, chunk_fields: bool = True) -> st.SearchStrategy[Filter]:
    """Valid trees, negation and empty lists included."""
    return st.recursive(
        comparisons(chunk_fields=chunk_fields),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
            st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
            inner.map(Not),
        ),
        max_leaves=8,
    )
