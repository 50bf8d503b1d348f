"""A table of a web page is read row by row: every cell, in its place, with its column's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.ingest.parsing import ParseLimits
from retriever.ingest.parsing.html import parse_html
from tests.unit.retriever.reading import shown


def rows(page: str) -> list[str]:
    return [text for _, _, _, text in shown(parse_html(page, ParseLimits()))]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "<table><tr><td>Plan A<td><table><tr><td>Basic<td>10 EUR</table><td>valid 2024</table>",
            ["Plan A", "Basic; 10 EUR", "valid 2024"],
        ),
        (
            "<table><tr><td>Left<div>from <table><tr><td>in</table> to</div><td>right<tr><td>x<td>y</table>",
            ["Left from", "in", "to", "right", "x; y"],
        ),
        (
            "<table><tr><td>1<table><tr><td>2<table><tr><td>3</table>4</table>5<table><tr><td>6</table>7</table>",
            ["1", "2", "3", "4", "5", "6", "7"],
        ),
    ],
)
def test_what_stands_around_a_table_in_a_cell_is_said_in_its_place(page, said):
    assert rows(page) == said


def test_a_table_in_a_cell_takes_no_column_names_and_gives_none():
    inner = "<table><tr><th>X<th>Y<tr><td>7<td>8</table>"
    page = f"<table><tr><th>A<th>B<th>C<tr><td>1<td>in {inner} it<td>3<tr><td>4<td>5<td>6</table>"
    assert rows(page) == ["A | B | C", "A: 1; B: in", "X | Y", "X: 7; Y: 8", "it", "3", "A: 4; B: 5; C: 6"]


def test_a_page_laid_out_by_tables_keeps_its_structure_after_the_first_within():
    page = "<table><tr><td>Menu<td><table><tr><td>Path</table><h1>A</h1><p>One.<ul><li>two</ul><pre>a\n b</pre></table>"
    assert [(kind, text) for kind, _, _, text in shown(parse_html(page, ParseLimits()))] == [
        ("table_row", "Menu"),
        ("table_row", "Path"),
        ("heading", "A"),
        ("paragraph", "One."),
        ("list_item", "- two"),
        ("code", "a\n b"),
    ]


def test_rows_and_cells_need_no_end():
    assert rows("<table><tr><td>a<td>b<tr><td>c<td>d</table>after<table><tr><td>e") == ["a; b", "c; d", "after", "e"]


def test_blocks_in_a_cell_stay_apart():
    assert rows("<table><tr><td>a<div>b</div>c<br>d<ul><li>e<li>f</ul>g</table>") == ["a b c d e f g"]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "<tr><th>Country<th>City<th>Pop<tr><td rowspan=2>DE<td>Berlin<td>3<tr><td>Hamburg<td>2<tr><td>FR<td>Paris",
            ["Country: DE; City: Berlin; Pop: 3", "Country: DE; City: Hamburg; Pop: 2", "Country: FR; City: Paris"],
        ),
        ("<tr><th>Day<th>Open<th>Close<th>Phone<tr><td>Mon<td colspan=2>no<td>1", ["Day: Mon; Open: no; Phone: 1"]),
        ("<tr><th>Day<th>Rate<tr><td>Mon<td rowspan=0>5<tr><td>Tue", ["Day: Mon; Rate: 5", "Day: Tue; Rate: 5"]),
        ("<tr><th>A<th>B<tr><td><td rowspan=2>5<tr><tr><td>1<td>2", ["B: 5", "A: 1; B: 2"]),
        ("<tr><th>A<th>B<tr><td>1<td rowspan=x colspan=-1>2<tr><td>3<td>4", ["A: 1; B: 2", "A: 3; B: 4"]),
        ("<thead><tr><th rowspan=3>A<th>B<tbody><tr><td>1<td>2", ["A: 1; B: 2"]),
        ("<tr><th>N<th>V<tr><td colspan=2>Fruit<tr><td>apple<td>1", ["Fruit", "N: apple; V: 1"]),
    ],
)
def test_a_cell_over_several_columns_or_rows_is_in_each(page, said):
    assert rows(f"<table>{page}</table>")[1:] == said


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "<tr><th rowspan=2>Team<th colspan=2>Sales<tr><th>Q1<th>Q2<tr><td>A<td>80<td>82",
            ["Team | Sales", "Team | Sales Q1 | Sales Q2", "Team: A; Sales Q1: 80; Sales Q2: 82"],
        ),
        (
            "<tr><td><th colspan=2>2024<tr><th>Team<th>H1<th>H2<tr><td>A<td>80<td>82",
            ["2024", "Team | 2024 H1 | 2024 H2", "Team: A; 2024 H1: 80; 2024 H2: 82"],
        ),
        ("<tr><td><th>Q1<th>Q2<tr><th>Sales<td>80<td>82", ["Q1 | Q2", "Sales; Q1: 80; Q2: 82"]),
        (
            "<tr><th>N<th>V<th>W<tr><td><th colspan=2>Fruit<tr><td>a<td>1<td>2",
            ["N | V | W", "V: Fruit", "N: a; V: 1; W: 2"],
        ),
        ("<tr><td><th>Sum<tr><td>A<td>8", ["Sum", "A; 8"]),
        ("<tr><th colspan=2>Budget<tr><th>N<th>V<tr><td>a<td>1", ["Budget", "N | V", "N: a; V: 1"]),
    ],
)
def test_columns_have_the_names_above_them(page, said):
    assert rows(f"<table>{page}</table>") == said


def test_a_small_page_with_large_spans_stays_small():
    page = "<table>" + ("<tr>" + "<td colspan=9999 rowspan=9999>x" * 99) * 99 + "</table>"
    assert len("".join(rows(page)).replace("; ", "")) == 99 * 99


def _table(table: list[list[list[str]]]) -> str:
    return "".join(
        ["<table>", *("<tr>" + "".join(f"<td>{''.join(cell)}" for cell in row) for row in table), "</table>"]
    )


CELLS = st.recursive(
    st.just("w"),
    lambda inner: st.lists(st.lists(st.lists(inner, max_size=3), max_size=3), max_size=3).map(_table),
    max_leaves=12,
)


@given(st.lists(CELLS, max_size=4))
def test_no_cell_is_lost_or_moved_however_tables_stand_in_tables(parts):
    numbered = iter(range(1000))
    page = "".join(f" w{next(numbered)} " if char == "w" else char for char in "".join(parts))
    words = [f"w{number}" for number in range("".join(parts).count("w"))]
    assert " ".join(rows(f"<p>.</p>{page}")).replace(";", " ").split() == [".", *words]
