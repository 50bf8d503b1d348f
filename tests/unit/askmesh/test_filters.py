"""Filters as expressions and as the command line's words make the contract's tree."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rag.orchestrator.v1 import filter_pb2 as pb

from askmesh.filters import parse_condition, parse_value, where
from chassis.errors import FilterInvalid


def compared(text):
    return parse_condition(text).tree.comparison


@pytest.mark.parametrize(
    ("text", "operator", "value"),
    [
        ("year=2024", pb.OPERATOR_EQ, pb.Value(number_value=2024)),
        ("year != 2024", pb.OPERATOR_NE, pb.Value(number_value=2024)),
        ("year<2024", pb.OPERATOR_LT, pb.Value(number_value=2024)),
        ("year<=2024", pb.OPERATOR_LE, pb.Value(number_value=2024)),
        ("year > 2024", pb.OPERATOR_GT, pb.Value(number_value=2024)),
        ("year>=2024", pb.OPERATOR_GE, pb.Value(number_value=2024)),
        ("source=handbook", pb.OPERATOR_EQ, pb.Value(string_value="handbook")),
        ("draft=true", pb.OPERATOR_EQ, pb.Value(bool_value=True)),
        ('code="2024"', pb.OPERATOR_EQ, pb.Value(string_value="2024")),
        ("title=a=b", pb.OPERATOR_EQ, pb.Value(string_value="a=b")),
    ],
)
def test_a_condition_reads_as_it_is_written(text, operator, value):
    comparison = compared(text)
    assert (comparison.operator, comparison.value) == (operator, value)


def test_in_and_exists_are_words():
    assert [value.string_value for value in compared("lang in en, de").values] == ["en", "de"]
    assert compared("year exists").operator == pb.OPERATOR_EXISTS


@pytest.mark.parametrize("text", ["", "year", "=3", "year 2024"])
def test_words_that_are_no_condition_are_refused_with_a_hint(text):
    with pytest.raises(FilterInvalid, match="field=value"):
        parse_condition(text)


def test_dates_are_moments_and_words_with_dashes_are_not():
    assert parse_value("2024-05-01") == datetime(2024, 5, 1)  # zones are added with the message
    assert parse_value("well-known") == "well-known"
    moment = where("day") >= datetime(2024, 5, 1, tzinfo=UTC)
    assert moment.tree.comparison.value.time_value.ToDatetime(UTC) == datetime(2024, 5, 1, tzinfo=UTC)


def test_expressions_join_into_the_tree():
    tree = ((where("year") >= 2024) & ~(where("draft") == True) | where("lang").is_in("en")).tree  # noqa: E712
    parts = getattr(tree, "or").filters
    assert [part.WhichOneof("node") for part in parts] == ["and", "comparison"]
    assert getattr(parts[0], "and").filters[1].WhichOneof("node") == "not"


def test_the_retriever_gets_the_same_tree():
    condition = (where("year") >= 2024) | ~where("lang").is_in("en", "de")
    assert condition.for_retriever().SerializeToString() == condition.tree.SerializeToString()


def test_a_value_of_no_type_of_the_contract_is_refused():
    with pytest.raises(FilterInvalid):
        _ = where("x") == object()
