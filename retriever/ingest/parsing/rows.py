"""Rows of tables made readable: "name: value; name: value" under names, "label: value" where there are labels alone.

Rule 1: a first row is taken for names only where nothing speaks for its being a row like the others: a false name is a
        false statement, a row without names is merely short.
Rule 2: a table of two columns is labels and values, unless its second column tells otherwise ("Price" above sums).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise

from retriever.ingest.parsing.text import TABLE_ROW, TextBuilder, row_text

SAMPLE_ROWS = 50  # enough to tell of what kind the columns are; a sheet may have a million
MIN_SHARE = 2 / 3  # of a column's values, how many are of one kind: a price may also be "on request"
MAX_VALUE_CHARS = 24  # "12,000.50 EUR per month"; what is longer and begins with a number is a sentence
MAX_LABEL_CHARS = 80
MAX_ADDRESS_CHARS = 2000  # browsers' own limit; the expression is quadratic in what is none
MAX_YEAR_STEP = 10  # 2010, 2020, 2030

_WORD, _NUMBER, _DATE, _ADDRESS = "word", "number", "date", "address"
# Of mail, of a page, or a telephone's: "2023-2024" is none.
_IS_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+|(?:https?://|www\.)\S+|\(?[+0][\d ()/-]{7,}\d", re.IGNORECASE)
_IS_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]m)?"
    r"|\d{1,2}\.? [^\W\d_]{3,10}\.? \d{4}|[^\W\d_]{3,10}\.? \d{1,2}, \d{4}",
    re.IGNORECASE,
)
_IS_NUMBER = re.compile(
    r"[~<>≈±+(-]*(?:[$€£¥]|EUR|USD|GBP|CHF)? ?\d(?:[\d.,' \xa0]*\d)?[ \xa0]?(?P<unit>\D?.*)", re.DOTALL
)
_IS_MEASURE = re.compile(r"[~<>≈±+-]*\d(?:[\d.,]*\d)?[ \xa0]?(?!(?:st|nd|rd|th)\b)[^\W\d_]{1,3}(?:/[^\W\d_]{1,3})?")
_IS_YEAR = re.compile(r"(?:19|20)\d\d")
_SENTENCE_ENDS = (".", "?", "!")


def add_rows(
    builder: TextBuilder,
    rows: Iterator[Sequence[str]],
    *,
    page: int = 0,
    has_header: bool = False,
    are_records: bool = False,
) -> None:
    """Append a table's rows; single cells above it are its title.

    Args:
        builder: Takes the rows.
        rows: From the first; blank ones are left out.
        page: Where they stand.
        has_header: The file itself says that the first row holds names.
        are_records: The format is one of records, whose first row holds names by custom: words above words are names.
    """
    filled: Iterator[Sequence[str]] = (row for row in rows if _filled(row))
    names: Sequence[str] = ()
    has_labels = False
    for row in filled:
        if len(_filled(row)) > 1:
            body = list(islice(filled, SAMPLE_ROWS))
            has_labels = _has_labels([row, *body])
            is_told = has_header or (_holds_names(row, body) and (not has_labels or _differ(row, body, are_records)))
            names = row if is_told else ()
            filled = chain(body if names else [row, *body], filled)
            if names:
                builder.add(" | ".join(cell.strip() for cell in row if cell.strip()), TABLE_ROW, page=page)
            break
        has_header = False  # it was a title
        builder.add(row_text((), row), TABLE_ROW, page=page)
    for row in filled:
        text = _labelled(row) if has_labels and not names else row_text(names, row)
        builder.add(text, TABLE_ROW, page=page)


def _filled(row: Sequence[str]) -> list[int]:
    return [index for index, cell in enumerate(row) if cell.strip()]


def _has_labels(rows: Sequence[Sequence[str]]) -> bool:
    """Whether two columns are all there is."""
    return len({index for row in rows for index in _filled(row)}) == 2


def _labelled(row: Sequence[str]) -> str:
    """A row of two cells as "label: value"; the cells alone where the first is no label."""
    cells = [" ".join(row[index].split()) for index in _filled(row)]
    label = cells[0].rstrip(": ")
    is_label = (
        len(cells) == 2
        and 0 < len(label) <= MAX_LABEL_CHARS
        and not label.endswith(_SENTENCE_ENDS)
        and (_kind(label) == _WORD or _kind(cells[1]) == _WORD)
    )
    return f"{label}: {cells[1]}" if is_label else "; ".join(cells)


def _columns(row: Sequence[str], body: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    """What stands below each filled cell of the row."""
    return {index: [line[index].strip() for line in body if index in _filled(line)] for index in _filled(row)}


def _holds_names(row: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Names are words, each once: data has numbers, and values that repeat."""
    columns = _columns(row, body)
    names = {index: row[index].strip() for index in columns}
    numbers = [index for index, name in names.items() if _is_plain_number(name)]
    if numbers and not _are_years([names[index] for index in numbers], [columns[index] for index in numbers]):
        return False
    if not all(index in numbers or _is_name(name, columns[index]) for index, name in names.items()):
        return False
    counts = Counter(names.values())
    repeated = [columns[index] for index, name in names.items() if counts[name] > 1]
    return not repeated or (len(counts) > 1 and any(_are_values(column) for column in repeated))


def _differ(row: Sequence[str], body: Sequence[Sequence[str]], are_records: bool) -> bool:
    """Whether two columns hold what their names are not: numbers, dates; or questions, which are no labels."""
    columns = _columns(row, body)
    first, second = columns.values()
    asked = [value.endswith(_SENTENCE_ENDS) or len(value) > MAX_LABEL_CHARS for value in first]
    if 2 * sum(asked) > len(asked) or (are_records and second and set(map(_kind, second)) == {_WORD}):
        return True
    return any(_kind(row[index].strip()) == _WORD and _are_values(column) for index, column in columns.items())


def _is_name(name: str, column: Sequence[str]) -> bool:
    """Not an address, nor what the values below it are: a date above dates, "10 EUR" above "20 EUR"."""
    if _is_address(name):
        return False
    if _IS_DATE.fullmatch(name):
        return not any(map(_IS_DATE.fullmatch, column))
    if _IS_MEASURE.fullmatch(name):
        return all(_kind(value) != _NUMBER or _unit(value) != _unit(name) for value in column)
    return True


def _is_address(cell: str) -> bool:
    return len(cell) <= MAX_ADDRESS_CHARS and _IS_ADDRESS.fullmatch(cell) is not None


def _is_plain_number(cell: str) -> bool:
    return cell.strip("$€£%+-() ").replace(",", "").replace(".", "").isdigit()


def _are_years(names: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of a first row are a series of years, above numbers that are not: 2021, 2022 above sums."""
    if len(names) < 2 or not all(map(_IS_YEAR.fullmatch, names)):
        return False
    values = [value for column in columns for value in column]
    steps = {int(later) - int(earlier) for earlier, later in pairwise(names)}
    return (
        len(steps) == 1
        and 0 < abs(steps.pop()) <= MAX_YEAR_STEP
        and any(not _IS_YEAR.fullmatch(value) for value in values)
        and sum(_kind(value) == _NUMBER for value in values) >= MIN_SHARE * len(values)
    )


def _are_values(column: Sequence[str]) -> bool:
    """Whether most are of one kind that is no word; numbers also of one unit: a data sheet's are of many."""
    kinds = Counter(map(_kind, column))
    kind, most = kinds.most_common(1)[0] if kinds else (_WORD, 0)
    if kind == _WORD or most < MIN_SHARE * len(column):
        return False
    units = Counter(_unit(value) for value in column if _kind(value) == kind == _NUMBER and _unit(value))
    return len(units) < 2 or units.most_common(1)[0][1] >= MIN_SHARE * units.total()


def _kind(cell: str) -> str:
    if _is_address(cell):
        return _ADDRESS
    if _IS_DATE.fullmatch(cell):
        return _DATE
    return _NUMBER if len(cell) <= MAX_VALUE_CHARS and _IS_NUMBER.fullmatch(cell) else _WORD


def _unit(cell: str) -> str:
    found = _IS_NUMBER.fullmatch(cell)
    return found["unit"].strip(" )").casefold() if found else ""
