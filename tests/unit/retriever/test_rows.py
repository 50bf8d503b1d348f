"""Tables say what their readers see: names that are names, labels beside their values, and nothing made up."""

from __future__ import annotations

import pytest

from tests.unit.retriever.reading import parsed
from tests.unit.retriever.test_word import cell, file_of, row, table

LABELS = [("Title", "Security policy"), ("Version", "1.2"), ("Owner", "Jane Doe")]


def csv_of(*rows: tuple[str, ...]) -> bytes:
    return "\n".join("|".join(cells) for cells in rows).encode()


async def lines(parser, *rows: tuple[str, ...]) -> list[str]:
    return (await parsed(parser, "a.csv", csv_of(*rows))).text.split("\n")


async def test_labels_stand_beside_their_values(parser):
    said = ["Title: Security policy", "Version: 1.2", "Owner: Jane Doe"]
    assert await lines(parser, *LABELS) == said
    word = file_of(table(*(row(*map(cell, cells)) for cells in LABELS)))
    assert (await parsed(parser, "a.docx", word)).text.split("\n") == said


@pytest.mark.parametrize(
    "rows",
    [
        (("Model", "X200"), ("Weight", "2 kg"), ("Height", "10 cm"), ("Power", "50 W")),
        (("Invoice", "Repairs"), ("Date", "2024-05-01"), ("Number", "1234"), ("Sum", "10 EUR"), ("To", "Kim")),
        (("Name", "Role"), ("Ann", "Engineer"), ("Bob", "Designer")),
        (("Basic", "10 EUR"), ("Pro", "20 EUR")),
        (("Ann", "ann@example.com"), ("Bob", "bob@example.com")),
        (("Monday", "9-17"), ("Tuesday", "9-17"), ("Friday", "9-13")),
        (("Title", "Security policy"),),
    ],
)
async def test_two_columns_are_labels_and_values_where_nothing_speaks_for_names(parser, rows):
    document = await parsed(parser, "a.docx", file_of(table(*(row(*map(cell, cells)) for cells in rows))))
    assert document.text.split("\n") == [": ".join(cells) for cells in rows]


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        ((("Plan", "Price"), ("Basic", "10 EUR"), ("Pro", "20 EUR")), "Plan: Pro; Price: 20 EUR"),
        (
            (("Plan", "Price"), ("Basic", "€10"), ("Pro", "€20"), ("All", "on request")),
            "Plan: All; Price: on request",
        ),
        ((("Release", "Date"), ("1.0", "2024-05-01"), ("1.1", "3 June 2024")), "Release: 1.1; Date: 3 June 2024"),
        ((("Name", "Mail"), ("Ann", "a@example.com"), ("Bob", "b@example.com")), "Name: Bob; Mail: b@example.com"),
        ((("Country", "Capital"), ("France", "Paris"), ("Spain", "Madrid")), "Country: Spain; Capital: Madrid"),
        ((("id", "text"), ("1", "Red"), ("2", "Blue")), "id: 2; text: Blue"),
        ((("Question", "Answer"), ("Who pays?", "Nobody."), ("When?", "Soon.")), "Question: When?; Answer: Soon."),
    ],
)
async def test_two_columns_keep_names_that_say_what_the_values_are(parser, rows, last):
    said = await lines(parser, *rows)
    assert said[0] == " | ".join(rows[0])
    assert said[-1] == last


@pytest.mark.parametrize(
    "rows",
    [
        (("Alice", "alice@example.com", "Berlin"), ("Bob", "bob@example.com", "Paris")),
        (("Home", "https://example.com/a", "Start"), ("News", "https://example.com/b", "List")),
        (("Alice", "+49 30 901820", "Berlin"), ("Bob", "+33 1 400000", "Paris")),
        (("Alice", "2024-05-01", "Berlin"), ("Bob", "2024-05-02", "Paris")),
        (("Basic", "10 EUR", "monthly"), ("Pro", "20 EUR", "yearly")),
        (("Ford", "2019", "2021"), ("Opel", "2018", "2022")),
        (("Ford", "1999", "2499"), ("Opel", "1500", "2099")),
        (("Alice", "Berlin", "Berlin"), ("Bob", "Paris", "London")),
    ],
)
async def test_a_row_of_values_is_not_taken_for_names(parser, rows):
    assert await lines(parser, *rows) == ["; ".join(cells) for cells in rows]


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        ((("Region", "2021", "2022"), ("North", "10", "12.5"), ("South", "7", "9")), "Region: South; 2021: 7; 2022: 9"),
        ((("Area", "2023-2024", "2024-2025"), ("North", "1", "2")), "Area: North; 2023-2024: 1; 2024-2025: 2"),
        ((("Team", "Sum", "Sum"), ("Ann", "10", "20")), "Team: Ann; Sum: 10; Sum: 20"),
        ((("Who", "2024-05-01", "2024-05-02"), ("Ann", "8", "7")), "Who: Ann; 2024-05-01: 8; 2024-05-02: 7"),
        ((("Runner", "5 km", "10 km"), ("Ann", "21:30", "45:10")), "Runner: Ann; 5 km: 21:30; 10 km: 45:10"),
        (
            (("Area", "1st quarter", "All"), ("North", "10 EUR", "20 EUR")),
            "Area: North; 1st quarter: 10 EUR; All: 20 EUR",
        ),
        ((("", "Basic", "Pro"), ("Login", "yes", ""), ("Audit", "", "yes")), "Audit; Pro: yes"),
    ],
)
async def test_names_may_be_years_dates_or_said_twice(parser, rows, last):
    said = await lines(parser, *rows)
    assert said[0] == " | ".join(filter(None, rows[0]))
    assert said[-1] == last


async def test_a_row_that_word_repeats_on_every_page_holds_names(parser):
    head = f"<w:tr><w:trPr><w:tblHeader/></w:trPr>{cell('Name')}{cell('Role')}</w:tr>"
    rows = [row(*map(cell, cells)) for cells in (("Ann", "Engineer"), ("Bob", "Designer"))]
    document = await parsed(parser, "a.docx", file_of(table(head, *rows)))
    assert document.text == "Name | Role\nName: Ann; Role: Engineer\nName: Bob; Role: Designer"


async def test_a_long_table_is_read_to_its_end(parser):
    rows = [("Day", "Hours"), *((f"Day {number}", str(number)) for number in range(300))]
    said = await lines(parser, ("Hours of May", ""), *rows)
    assert said[:2] == ["Hours of May", "Day | Hours"]
    assert said[-1] == "Day: Day 299; Hours: 299"
    assert len(said) == 302
