"""Running lines: what stands at the edge of page after page, titles and page numbers, is said once.

Rule 1: a line at the edge that comes again, word for word, on three pages is a running title; but not what is said of
        records, "Status: paid" here and "Status: open" there.
Rule 2: so is one whose number counts up with the pages, once more than the counting speaks for a page number: merged
        records ("Invoice 1001", "Invoice 1002") and headings ("Question 3") count up as well. In doubt the line stays:
        a running line too many costs little, a heading that is gone cannot be found.
Rule 3: bare page numbers say nothing and go everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_EDGE_LINES = 2  # a running title and a number, one above the other
_RUNNING_PAGES = 3  # on fewer a line may well be said again
_CUT_PAGES = 2  # so often a line stands in the middle of a sentence before that is no accident
_NEAR = 50  # pages: front matter without numbers, or the pages before an excerpt; serials begin at 1 or far away
_COUNTED_CHARS = 200  # no running title is longer

_OUT_OF = r"\s*(?:/|\bof\b|\bvon\b|\bsur\b|\bde\b|\bdi\b|\bav\b|\bиз\b)\s*\d{1,4}"
_DRAWN = r"[\s|\[\]()<>\u00b7\u2022*~=_\u2010-\u2015-]*"
_BARE = re.compile(rf"{_DRAWN}(?P<number>\d{{1,4}})(?:{_OUT_OF})?{_DRAWN}", re.IGNORECASE)
# Not a part of a date, a longer number, a serial ("2024-0012", "#7"), an amount.
_NUMBER = re.compile(r"(?<![\w.,:/#$\u20ac\u00a3\u2116-])\d{1,4}(?!\d|[.,:-]\d|[%A-Za-z])")
_PAGE_BEFORE = re.compile(
    r"\b(?:pages?|pg\.?|pp?\.|seite|sida|sayfa|strona|p[aá]gina|p[aá]g\.|страница|стр\.)\s*:?\s*\Z", re.IGNORECASE
)
_PAGE_AFTER = re.compile(r"\s*(?:页|頁|ページ|쪽|페이지|\.?\s*oldal\b)", re.IGNORECASE)
# "Order no. 7", "Ticket: 7": the number is the thing's own.
_OWN_NUMBER = re.compile(r"(?:\b(?:no|nos|nr|num|number|nummer|n[uú]mero|id)\.?|[:\u00b0\u00ba])\s*\Z", re.IGNORECASE)
_NUMBER_IS_LAST = re.compile(rf"(?:{_OUT_OF})?{_DRAWN}", re.IGNORECASE)
_PARTED_BEFORE = re.compile(r"[|\u00b7\u2022]\s*\Z")
_PARTED_AFTER = re.compile(r"\s*[|\u00b7\u2022]")
# "Chapter 4: Function reference 10": the chapter has its number, this one is the page's.
_CHAPTER = re.compile(
    r"(?:chapter|section|appendix|kapitel|abschnitt|anhang)\s+\w{1,5}\s*[.:]\s+[^\W\d_]\S*\s+[^\W\d_]", re.IGNORECASE
)
_FIELD = re.compile(r"([^\W\d_][^:]{0,40}?)(?::\s|\s\d[\d.,]*\Z)")
_WORD = re.compile(r"[^\W\d_]{2,}")


class _Name(NamedTuple):
    """By what other pages would have the line too: its text, a page's number counted out of it."""

    edge: str
    text: str
    title: str = ""  # what stands around the number, unless that says that it is a page's
    needs_cut: bool = False  # a running line only when it stands in the middle of sentences


def without_running_lines(pages: Sequence[list[str]]) -> Iterator[list[str]]:
    """Each page without the lines at its edges that a page before it had too; bare page numbers go everywhere."""
    named = [dict(_edges(lines, number)) for number, lines in enumerate(pages, start=1)]
    counts = Counter(name for page in named for name in set().union(*page.values()))
    values = Counter(_field(name) for name in counts)
    titles = Counter((name.edge, name.title) for name in counts.elements())
    cuts = Counter(name for number, page in enumerate(named) for name in _cutting(pages, number, page))
    said: set[_Name] = set()
    for lines, page in zip(pages, named, strict=True):
        dropped = set()
        for index, names in page.items():
            running = {
                name
                for name in names
                if counts[name] >= _RUNNING_PAGES
                and (not name.title or 2 * counts[name] > titles[name.edge, name.title])  # "Total hours 7" is no page
                and (not name.needs_cut or cuts[name] >= _CUT_PAGES)
                and (not _field(name) or values[_field(name)] == 1)
            }
            if running & said or (running and _BARE.fullmatch(lines[index][:_COUNTED_CHARS])):
                dropped.add(index)
            said |= running
        yield [line for index, line in enumerate(lines) if index not in dropped]


def _field(name: _Name) -> str:
    """What the line gives a value of, "Status"; "" for no such line, and for one with a page's number."""
    field = _FIELD.match(name.text)
    return f"{name.edge} {field[1]}" if field and "\n" not in name.text else ""


def _edges(lines: Sequence[str], page: int) -> Iterator[tuple[int, set[_Name]]]:
    """Where the first and the last lines of a page stand, and their names; only the outermost hold a page's number."""
    filled = [index for index, line in enumerate(lines) if line]
    depth = min(_EDGE_LINES, max(1, len(filled) // 3))  # between its edges a short page has something to say too
    top = filled[:depth]
    for index in dict.fromkeys((*top, *filled[-depth:])):
        edge = "top" if index in top else "bottom"
        names = {_Name(edge, lines[index])}
        if index in (filled[0], filled[-1]) and len(lines[index]) <= _COUNTED_CHARS:
            names.update(_counted(lines[index], page, edge))
        yield index, names


def _counted(line: str, page: int, edge: str) -> Iterator[_Name]:
    """The line with its page's number counted out: "Page 7" on page 9 is "Page -2"."""
    bare = _BARE.fullmatch(line)
    numbers = list(_NUMBER.finditer(line))
    spans = [bare.span("number")] if bare else {match.span() for match in (*numbers[:1], *numbers[-2:])}
    for start, end in spans:
        offset = int(line[start:end]) - page
        before, after = line[:start], line[end:]
        text = f"{before}\n{offset}\n{after}"
        is_near = abs(offset) <= _NEAR
        if _PAGE_BEFORE.search(before) or _PAGE_AFTER.match(after) or (bare and (is_near or edge == "bottom")):
            yield _Name(edge, text)
        elif is_near and not bare and _is_titled(before, after):
            is_sure = edge == "bottom" or _PARTED_BEFORE.search(before) or _PARTED_AFTER.match(after)
            yield _Name(edge, text, f"{before}\n{after}", needs_cut=not (is_sure or _CHAPTER.match(before)))


def _is_titled(before: str, after: str) -> bool:
    """Whether the number stands at the end of a title; one word and a number is a label, "Question 3"."""
    if len(_WORD.findall(before or after)) < 2:
        return False
    if not before:
        return after[0] in " \t"
    return _NUMBER_IS_LAST.fullmatch(after) is not None and not _OWN_NUMBER.search(before)


def _cutting(pages: Sequence[list[str]], number: int, named: dict[int, set[_Name]]) -> set[_Name]:
    """The names of a page's first line where the sentence before it goes on after it."""
    filled = [index for index, line in enumerate(pages[number]) if line]
    before = next((line for line in reversed(pages[number - 1]) if line), "") if number else ""
    if len(filled) < 2 or not (before[-1:].islower() or before[-1:] in {",", "-"}):
        return set()
    return named[filled[0]] if pages[number][filled[1]][:1].islower() else set()
