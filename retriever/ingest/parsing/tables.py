"""The rows of an HTML table, as a reader would say them.

Rule 1: a row that another table stands in is one until there; what comes after in it is read like a page outside of
        tables. Tables that are there for the layout have whole pages in a cell, with headings of their own.
Rule 2: a cell over several columns or rows takes its place in each, or what is beside it gets another column's name.

Does not: tell names written as plain cells from values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from retriever.ingest.parsing.text import row_text

_MAX_COLUMNS = 1000  # after so many a cell has one, or a small page could make a large table
_MAX_SAID_AGAIN = 80  # characters: more is no name of a group of rows


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str = ""
    is_name: bool = True
    rows: int = 1  # that it is in, from this one on
    is_more: bool = False  # a further column of the cell to the left


@dataclass(slots=True)
class Table:
    """One table while its rows are read; a cell begins, ends, and the row says what it holds."""

    is_row_open: bool = False
    _names: list[str] = field(default_factory=list)  # of the columns
    _groups: list[str] = field(default_factory=list)  # names over several columns, in the row above
    _above: list[_Cell] = field(default_factory=list)  # the row above
    _cells: list[_Cell] = field(default_factory=list)  # the open row, one for each column
    _own: int = 0  # cells that began in the open row

    def open_group(self) -> None:
        """A head, body or foot begins: no cell reaches into it."""
        self._cells = []

    def open_row(self) -> None:
        self._above, self._cells = self._cells, []
        self._own = 0
        self.is_row_open = True

    def end_cell(self, text: str, *, is_name: bool, columns: int = 1, rows: int = 1) -> None:
        self._reach_down()
        flat = " ".join(text.split())
        is_corner = not (flat or self._cells) and (not self._names or bool(self._groups))
        self._own += 1
        self._cells.append(_Cell(flat, is_name or is_corner, rows))
        more = min(columns - 1, _MAX_COLUMNS - len(self._cells))
        self._cells.extend([_Cell("", is_name or is_corner, rows, is_more=True)] * more)

    def break_row(self, text: str) -> str:
        """Another table begins (rule 1): what the row says until there, with the words of its open cell."""
        self._reach_down()
        self.is_row_open = False
        return row_text(self._names, [*_texts(self._cells), text])

    def end_row(self) -> str:
        self.is_row_open = False
        self._reach_down()
        reaching = [column for column, cell in enumerate(self._above) if cell.rows > 1]
        while reaching and len(self._cells) <= reaching[-1]:  # the row is shorter than the cells that reach into it
            self._cells.append(_Cell())
            self._reach_down()
        if not self._own:
            return ""
        if self._names_columns():
            return self._named()
        self._groups = []
        if self._own == 1 and len(self._cells) == len(self._names) and all(cell.is_more for cell in self._cells[1:]):
            return self._cells[0].text  # over all columns: a title
        return row_text(self._names, _texts(self._cells))

    def _names_columns(self) -> bool:
        columns = [cell for cell in self._cells if not cell.is_more]
        if len(columns) < 2 or not all(cell.is_name for cell in columns):
            return False
        return bool(columns[0].text) or len(self._cells) > 2  # an empty corner above two names at least

    def _named(self) -> str:
        names: list[str] = []
        for cell in self._cells:
            names.append(names[-1] if cell.is_more and names else cell.text)
        groups, self._groups = self._groups, names if any(cell.is_more for cell in self._cells) else []
        for column, group in enumerate(groups[: len(names)]):
            if group and group != names[column]:
                names[column] = f"{group} {names[column]}".strip()
        self._names = names
        return " | ".join(name for name, cell in zip(names, self._cells, strict=True) if name and not cell.is_more)

    def _reach_down(self) -> None:
        """Take the cells of the row above that reach into the column that is next."""
        while (column := len(self._cells)) < min(len(self._above), _MAX_COLUMNS) and self._above[column].rows > 1:
            cell = self._above[column]
            is_said = (cell.is_name or self._names) and len(cell.text) <= _MAX_SAID_AGAIN
            self._cells.append(_Cell(cell.text if is_said else "", cell.is_name, cell.rows - 1, cell.is_more))


def _texts(cells: Iterable[_Cell]) -> list[str]:
    return [cell.text for cell in cells]
