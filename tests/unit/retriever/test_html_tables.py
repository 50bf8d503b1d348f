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
            ["Left from", "in", "to; right", "x; y"],
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
    assert rows(page) == ["A | B | C", "A: 1; B: in", "X | Y", "X: 7; Y: 8", "B: it; C: 3", "A: 4; B: 5; C: 6"]


def test_rows_and_cells_need_no_end():
    assert rows("<table><tr><td>a<td>b<tr><td>c<td>d</table>after<table><tr><td>e") == ["a; b", "c; d", "after", "e"]


def test_blocks_in_a_cell_stay_apart():
    assert rows("<table><tr><td>a<div>b</div>c<br>d<ul><li>e<li>f</ul>g</table>") == ["a b c d e f g"]


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
