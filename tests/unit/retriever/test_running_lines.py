"""Page numbers and running titles go; what names the page's own content stays, even where it counts up."""

from __future__ import annotations

import pytest

from retriever.ingest.parsing.running import without_running_lines
from tests.unit.retriever.files import pdf_file
from tests.unit.retriever.reading import parsed

BODIES = (
    ["Of oil there is a lot.", "It is kept in the"],
    ["cellar, next to the air.", "Nobody goes there and"],
    ["nobody should. Of ice", "one may take what"],
    ["is needed, says Ann,", "who keeps the ash."],
)


def left_at_the_top(lines: list[str]) -> list[str]:
    """Of one line at the top of each page, what is kept."""
    return _kept(lines, [[line, *body] for line, body in zip(lines, BODIES, strict=True)])


def left_at_the_bottom(lines: list[str]) -> list[str]:
    return _kept(lines, [[*body, line] for line, body in zip(lines, BODIES, strict=True)])


def _kept(lines: list[str], pages: list[list[str]]) -> list[str]:
    kept = [line for page in without_running_lines(pages) for line in page]
    assert [line for line in kept if line not in lines] == [line for body in BODIES for line in body]
    return [line for line in kept if line in lines]


def counted(shape: str, first: int) -> list[str]:
    return [shape.format(number) for number in range(first, first + len(BODIES))]


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ("Invoice {}", 1001),
        ("Invoice {}", 3),
        ("Question {}", 1),
        ("Chapter {}", 3),
        ("Slide {}", 4),
        ("Exercise {}", 2),
        ("Question {} of 40", 1),
        ("3.{}", 1),
        ("第{}章", 1),
        ("Order no. {}", 1),
        ("Purchase order number {}", 1),
        ("Support ticket: {}", 1),
        ("Support ticket {}", 1001),
        ("2024-00{}", 12),
        ("#{}", 1),
        ("100{}", 11),
        ("{}.01.2024", 12),
        ("{}. Aufgabe zum Rechnen", 1),
        ("Menu for {} May", 12),
    ],
)
def test_headings_and_serials_that_count_up_stay_at_the_top(shape, first):
    lines = counted(shape, first)
    assert left_at_the_top(lines) == lines


@pytest.mark.parametrize("shape", ["Certificate {}", "Certificate of merit no. {}", "Made on {}.01.2024", "#{}"])
def test_serials_stay_at_the_bottom(shape):
    lines = counted(shape, 1)
    assert left_at_the_bottom(lines) == lines


@pytest.mark.parametrize(
    "shape",
    ["Page {}", "Seite {} von 9", "Field manual, p. {}", "Annual Report 2023 | {}", "Field manual {}", "{} of 9"],
)
@pytest.mark.parametrize("left", [left_at_the_top, left_at_the_bottom])
def test_page_numbers_with_words_are_said_once_at_most(shape, left):
    lines = counted(shape, 17)
    assert left(lines) == ([] if shape == "{} of 9" else lines[:1])


def test_a_chapter_s_own_title_with_a_number_after_it_is_said_once():
    pages = [[f"Chapter 4: Function reference {number}", f"Call {number} it."] for number in range(10, 14)]
    assert sum(len(page) for page in without_running_lines(pages)) == 1 + len(pages)


@pytest.mark.parametrize("shape", ["{}", "- {} -", "{} / 40", "[{}]"])
@pytest.mark.parametrize("left", [left_at_the_top, left_at_the_bottom])
def test_bare_page_numbers_go(shape, left):
    assert left(counted(shape, 17)) == []


def test_a_bare_number_far_from_the_pages_is_one_at_the_bottom_only():
    lines = counted("{}", 354)
    assert left_at_the_bottom(lines) == []
    assert left_at_the_top(lines) == lines


@pytest.mark.parametrize("shape", ["Status of week {}", "Berliner Str. {}", "{} Main Street", "Purchase order {}"])
def test_a_title_and_a_number_above_pages_that_end_their_sentences_stay(shape):
    pages = [[shape.format(number), "all is well", f"says Ann of {number}."] for number in range(1, 6)]
    assert list(without_running_lines(pages)) == pages


def test_what_is_said_of_several_records_with_one_value_or_another_stays():
    pages = [[f"Case {number}", f"Status: {status}", "Version: 2"] for number, status in enumerate("aababa")]
    for page in pages:
        page[2:2] = [f"{page[0]} is one", "of the cases", f"of week {page[0]}"]
    kept = list(without_running_lines(pages))
    assert kept == [pages[0], *(page[:-1] for page in pages[1:])]


def test_a_number_that_follows_the_pages_only_now_and_then_stays():
    hours = (4, 5, 6, 6, 7, 9, 8, 5, 6)  # on the first pages as a page's number would be, three further on, and so on
    pages = [[f"Of day {hour} {number}", "done", f"Total hours {hour}"] for number, hour in enumerate(hours)]
    pages = [[f"{first} in all", f"of {first}", first, *rest] for first, *rest in pages]
    kept = [line for page in without_running_lines(pages) for line in page]
    assert [line for line in kept if line.startswith("Total")] == [page[-1] for page in pages]


def test_the_few_lines_of_a_short_page_are_not_all_at_its_edge():
    pages = [[f"Receipt {number}", "Paid in full.", f"With thanks to {name}"] for number, name in enumerate("abcd")]
    assert list(without_running_lines(pages)) == pages


async def test_each_of_several_merged_invoices_keeps_its_number(parser):
    pages = [[f"Invoice {1000 + number}", f"{word} for the house"] for number, word in enumerate(("Oil", "Air", "Ice"))]
    assert (await parsed(parser, "a.pdf", pdf_file(*pages))).text == (
        "Invoice 1000 Oil for the house\n\nInvoice 1001 Air for the house\n\nInvoice 1002 Ice for the house"
    )
