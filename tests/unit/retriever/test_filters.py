"""Which filters and metadata are allowed, and what a filter means."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from chassis.errors import FilterInvalid, InvalidRequest, MetadataConflict
from retriever.filters import check_metadata, matches, validate, validate_metadata
from retriever.types import And, Comparison, DocumentRecord, FieldType, Filter, Not, Operator, Or

FIELDS = {"team": FieldType.STRING, "year": FieldType.NUMBER, "open": FieldType.BOOL, "since": FieldType.TIME}
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
EQ, NE, IN, LT, GE, EXISTS = (Operator[name] for name in ("EQ", "NE", "IN", "LT", "GE", "EXISTS"))


def document(**metadata):
    return DocumentRecord(
        document_id="a.md",
        version=1,
        title="",
        uri="",
        source="handbook",
        content_type="text/markdown",
        metadata=metadata,
        groups=("*",),
        content_hash="",
        chunk_count=1,
        text_chars=1,
        size_bytes=1,
        updated_at=NOON,
    )


def paths_of(filter, **options):
    with pytest.raises(FilterInvalid) as caught:
        validate(filter, FIELDS, **options)
    return [violation.field for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("filter", "present", "missing"),
    [
        (Comparison("year", EXISTS), True, False),
        (Comparison("year", EQ, (2024.0,)), True, False),
        (Comparison("year", NE, (2024.0,)), False, True),
        (Comparison("year", NE, (1.0,)), True, True),
        (Comparison("year", IN, (1.0, 2024.0)), True, False),
        (Comparison("year", LT, (2025.0,)), True, False),
        (Comparison("year", GE, (2025.0,)), False, False),
        (Not(Comparison("year", LT, (2025.0,))), False, True),
        (And(), True, True),
        (Or(), False, False),
        (And((Comparison("year", EXISTS), Comparison("team", EXISTS))), False, False),
        (Or((Comparison("year", EXISTS), Comparison("team", EXISTS))), True, False),
    ],
)
def test_what_conditions_mean_for_a_value_and_for_a_missing_one(filter, present, missing):
    assert matches(filter, document(year=2024.0), "", 0) is present
    assert matches(filter, document(), "", 0) is missing


@pytest.mark.parametrize(
    ("filter", "holds"),
    [
        (Comparison("section", EXISTS), False),
        (Comparison("page", EXISTS), False),
        (Comparison("title", EXISTS), False),
        (Comparison("title", NE, ("x",)), True),
        (Comparison("source", EQ, ("handbook",)), True),
        (Comparison("document_id", LT, ("b",)), True),
    ],
)
def test_an_empty_built_in_field_is_missing(filter, holds):
    assert matches(filter, document(), "", 0) is holds


def test_chunk_fields_are_those_of_the_chunk():
    assert matches(Comparison("page", GE, (2.0,)), document(), "", 2)
    assert matches(Comparison("section", EQ, ("Leave",)), document(), "Leave", 0)


def test_an_empty_metadata_string_is_a_value():
    assert matches(Comparison("team", EXISTS), document(team=""), "", 0)


@pytest.mark.parametrize(
    ("comparison", "path"),
    [
        (Comparison("colour", EXISTS), "filter.comparison.field"),
        (Comparison("", EXISTS), "filter.comparison.field"),
        (Comparison("team; DROP TABLE", EQ, ("x",)), "filter.comparison.field"),
        (Comparison("team", EQ, ()), "filter.comparison.value"),
        (Comparison("team", EQ, (1.0,)), "filter.comparison.value"),
        (Comparison("year", EQ, (True,)), "filter.comparison.value"),
        (Comparison("open", EQ, (1.0,)), "filter.comparison.value"),
        (Comparison("since", EQ, ("2024",)), "filter.comparison.value"),
        (Comparison("year", EQ, (math.nan,)), "filter.comparison.value"),
        (Comparison("team", EQ, ("x" * 1_025,)), "filter.comparison.value"),
        (Comparison("team", EQ, ("\ud800",)), "filter.comparison.value"),
        (Comparison("since", LT, (datetime(2024, 1, 1),)), "filter.comparison.value"),
        (Comparison("open", LT, (True,)), "filter.comparison.operator"),
        (Comparison("team", EXISTS, ("x",)), "filter.comparison.value"),
        (Comparison("team", IN, ()), "filter.comparison.values"),
        (Comparison("team", IN, ("x",) * 257), "filter.comparison.values"),
        (Comparison("team", IN, ("x", 1.0)), "filter.comparison.values[1]"),
    ],
)
def test_a_wrong_comparison_is_refused_where_it_is_wrong(comparison, path):
    assert paths_of(comparison) == [path]


def test_every_wrong_node_is_named_by_its_path():
    wrong = Comparison("colour", EXISTS)
    tree = And((Comparison("team", EQ, ("x",)), Or((Not(wrong), wrong))))
    assert paths_of(tree) == [
        "filter.and.filters[1].or.filters[0].not.comparison.field",
        "filter.and.filters[1].or.filters[1].comparison.field",
    ]


def test_sixty_four_nodes_are_allowed_and_sixty_five_are_not():
    leaf = Comparison("team", EXISTS)
    validate(And((leaf,) * 63), FIELDS)
    assert paths_of(And((leaf,) * 64)) == ["filter"]


def test_eight_levels_are_allowed_and_nine_are_not():
    tree: Filter = Comparison("team", EXISTS)
    for _ in range(7):
        tree = Not(tree)
    validate(tree, FIELDS)
    assert paths_of(Not(tree)) == ["filter" + ".not" * 8]


def test_a_very_deep_tree_is_refused_without_walking_it():
    tree: Filter = Comparison("team", EXISTS)
    for _ in range(5_000):
        tree = Not(tree)
    assert paths_of(tree) == ["filter" + ".not" * 8]


def test_chunk_fields_are_unknown_where_documents_are_filtered():
    page = Comparison("page", EQ, (1.0,))
    validate(page, FIELDS)
    assert paths_of(page, chunk_fields=False, path="request.filter") == ["request.filter.comparison.field"]


def test_a_collections_fields_are_fixed_by_first_use():
    fields = check_metadata({"year": 2024.0, "open": True}, {"team": FieldType.STRING})
    assert fields == {"team": FieldType.STRING, "year": FieldType.NUMBER, "open": FieldType.BOOL}


def test_another_type_than_the_fields_is_a_conflict():
    with pytest.raises(MetadataConflict) as caught:
        check_metadata({"team": 1.0, "year": True, "open": False}, FIELDS)
    assert [each.field for each in caught.value.violations] == ["document.metadata[team]", "document.metadata[year]"]


def test_a_collection_has_at_most_thirty_two_fields():
    fields = check_metadata({f"f{n}": "x" for n in range(32)}, {})
    with pytest.raises(MetadataConflict):
        check_metadata({"one too many": "x"}, fields)


@pytest.mark.parametrize(
    "metadata",
    [{"": "x"}, {"a b": "x"}, {"title": "x"}, {"x" * 65: "x"}, {"a": math.inf}, {"a": "x" * 1_025}, {"ä": "x"}],
)
def test_malformed_metadata_is_refused_whatever_the_collection(metadata):
    with pytest.raises(InvalidRequest):
        validate_metadata(metadata)


def test_well_formed_metadata_is_accepted():
    validate_metadata({"k.e-y_1": "", "n": -0.0, "b": False, "t": NOON})
