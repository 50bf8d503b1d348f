"""The rows of an HTML table, as a reader would say them.

Rule 1: a row that another table stands in is said in parts, before and after it: nothing is lost and nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from retriever.ingest.parsing.text import row_text


@dataclass(slots=True)
class Table:
    """One table while its rows are read; a cell begins, ends, and the row says what it holds."""

    _names: list[str] = field(default_factory=list)  # of the columns
    _cells: list[str] = field(default_factory=list)  # of the open row
    _are_names: list[bool] = field(default_factory=list)
    _said: int = 0  # cells of the open row
    is_row_open: bool = False

    def open_row(self) -> None:
        self._cells, self._are_names, self._said = [], [], 0
        self.is_row_open = True

    def end_cell(self, text: str, *, is_name: bool) -> None:
        self._cells.append(" ".join(text.split()))
        self._are_names.append(is_name)

    def part_row(self, text: str) -> str:
        """What the open row says until here, with the words of its open cell."""
        self._are_names.append(False)  # a row with a table in it names no columns
        first, self._said = self._said, len(self._cells)
        return row_text(self._names[first : self._said + 1], [*self._cells[first:], text])

    def end_row(self) -> str:
        self.is_row_open = False
        if len(self._cells) > 1 and all(self._are_names):
            self._names = self._cells
            return " | ".join(cell for cell in self._cells if cell)
        return row_text(self._names[self._said : len(self._cells)], self._cells[self._said :])
