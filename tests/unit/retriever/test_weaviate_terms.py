"""The words that values become in Weaviate's index: their byte order is the values' order, and fields stay apart."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.search.weaviate.terms import (
    SLOTS,
    end_word,
    fact,
    first_word,
    from_micros,
    ordered,
    properties_for,
    sortable,
    to_micros,
)

TEXTS = st.text(max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(timezones=st.just(UTC))
NAMES = st.from_regex(r"[A-Za-z0-9_.\-]{1,8}", fullmatch=True)


@pytest.mark.parametrize("values", [TEXTS, NUMBERS, TIMES], ids=["texts", "numbers", "times"])
def test_words_sort_as_their_values_do(values):
    @given(values, values)
    def check(left, right):
        assert (sortable(left) < sortable(right)) == (left < right)
        assert (sortable(left) == sortable(right)) == (left == right)

    check()


def test_neighbouring_doubles_and_the_two_zeros_are_told_apart_as_numbers():
    (after_one,) = struct.unpack(">d", struct.pack(">Q", 0x3FF0000000000001))
    assert sortable(1.0) < sortable(after_one)
    assert sortable(-0.0) == sortable(0.0)


@given(TIMES)
def test_times_survive_to_the_microsecond(moment):
    assert from_micros(to_micros(moment)) == moment


def test_the_first_and_the_last_moment_are_words_of_one_length():
    moments = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
    assert [len(sortable(moment)) for moment in moments] == [16, 16]


@given(NAMES, NAMES, st.one_of(TEXTS, NUMBERS, TIMES))
def test_a_fields_words_lie_between_its_ends_and_no_others_do(field, other, value):
    assert first_word(field) <= ordered(field, value) < end_word(field)
    if other != field:
        assert not first_word(field) <= ordered(other, value) < end_word(field)


@given(NAMES, NAMES, TEXTS, TEXTS)
def test_facts_are_equal_only_for_the_same_field_and_value(field, other, left, right):
    assert (fact(field, left) == fact(other, right)) == ((field, left) == (other, right))
    assert fact(field) != fact(field, left)


def test_a_name_is_looked_for_in_the_slots_up_to_its_rank():
    known = {"b": 1, "a": 1, "c": 1}
    assert properties_for("b", known) == SLOTS[:2]
    assert properties_for("title", known) == ("field_title",)
    assert properties_for("unknown", known) == SLOTS
