"""Where the sentences of a text begin and end, as offsets: nothing is copied, changed or dropped.

Rule 1: a span is verbatim: text[start:end] is the sentence, without the blanks around it.
Rule 2: a full stop ends a sentence only when what follows can begin one, and what precedes it is not an abbreviation or
        an initial. Splitting too rarely is the lesser evil: a quote may be long but never begins in the middle.
        A small number before a month, or a German ordinal ("der 1. Vorsitzende"), keeps its stop.
Rule 3: structure beats punctuation: blank lines, list items, headings, table rows, and lines that are records one like
        the other (a name and its value, a time and its message) end a sentence; a wrapped line does not.
Rule 4: no sentence is longer than MAX_SENTENCE_CHARS: a table dump or a minified file must not become one "quote".
"""

# ruff: noqa: RUF001 - typographic quotes, dashes and full-width stops are what this module is about
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SENTENCE_CHARS = 600  # about 100 words; the longest real sentences of encyclopaedic prose are near 500
# "3. Oktober": what follows the number. "3. March" and "3. May" are dates only with their year; both are words as well.
_MONTH = (
    r"(?:Januar|Jänner|Februar|März|Maerz|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|January"
    r"|February|June|July|October|December|(?:March|May)(?=\s+\d{4}\b)|(?:Jan|Feb|Apr|Jun|Jul|Aug|Sept?|Okt|Nov|Dez)\.)"
    r"(?!\w)"
)
_NUMBER_MARK = rf"\d{{1,3}}[.)]\s(?!\s*{_MONTH})"
# A line that starts something of its own: heading, list item, table row, quote, fence.
_STRUCTURE = re.compile(r"[ \t]*(?:#{1,6}\s|[-*+•]\s|\||>|```|~~~)")
_NUMBERED = re.compile(rf"[ \t]*(?={_NUMBER_MARK})(\d{{1,3}})([.)])")  # the number, the sign
_FINISHED = re.compile(r"""[.!?…:;|。！？：]["'”’)\]»*_`]*[ \t]*\Z""")
# "name: value", as the rows of read tables, settings and mail headers are written; "<time> message", as logs are.
_FIELD = re.compile(r"[ \t]*[^\s:;|][^:;|\n]{0,59}:(?=[ \t]|$)", re.MULTILINE)
_TIMED = re.compile(r"[ \t]*\[?\d{4}-\d\d-\d\d[T \]]")
# Alone on its line, it is neither code nor prose; what it says is a language. More than three tildes underline a title.
FENCE_LINE = re.compile(r"^[ \t]*(?:`{3,}|~~~(?!~))[ \t]*([^`~\n]*)$", re.MULTILINE)
_LAST_SIGNS = 8  # of a line: its stop, and what closes with it
_LINE_END = re.compile(r"\n[ \t]*(?=\n)|\n")
# The stop, what closes with it, and the reference marks some texts put there (".[12]", ".:121,154").
# Possessive, from the first of its run on: what no blank follows is not tried again in shorter pieces.
_STOP = re.compile(r"""(?<![.!?…])[.!?…]++["'”’)\]»]*+(?:\[\d{1,3}\]|:\d[\d,–-]*+)*+(?=\s)|[。！？]+["'”’」』）]*""")
_OPENER = re.compile(r"""\s+["'“‘(\[«¿¡`]*[^\W_a-z]|\s+`""")  # upper case, digit, or a letter without case
_ANY_OPENER = re.compile(r"""\s+["'“‘(\[«¿¡]*[^\W_]""")  # for texts that know no capitals
_HEADING = re.compile(r"[ \t]*#{1,6}\s")
_LEAD = re.compile(rf"(?:\s|[-*+•>]\s|{_NUMBER_MARK})*")  # what a line of structure begins with and a sentence does not

# Words whose full stop is their own. Lower case; a single letter ("J.") and "U.S." are told by shape.
_ABBREVIATIONS = """
mr mrs ms dr prof sr jr st gen col lt capt sgt maj adm rev hon gov sen rep pres messrs mt ft vs cf al no nos vol fig
figs eq eqs sec ch pp ed eds e.g i.e viz approx ca c v inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov
dec u.s u.k u.n a.d b.c ph.d ext tel resp incl excl bzw nr str abs mme mlle sect bldg dept hr usw vgl
"""
_TITLES = frozenset(_ABBREVIATIONS.split())
_UNITS = frozenset({"ms", "ft", "hr"})  # "250 ms. A leg ..." ends a sentence, "Ms. Lee" does not
_ENDS_ANYWAY = frozenset(
    {"inc", "ltd", "co", "corp", "u.s", "u.k", "u.n", "jr", "sr", "a.d", "b.c", "al", "ph.d", "usw", "dept", "bldg"}
)
# Words of their own as well ("modern art. The ..."): abbreviations only before a number.
_BEFORE_NUMBER = frozenset({"art", "p", "para", "tab", "max", "min", "ref", "est", "chap"})
_A_NUMBER = re.compile(r"\s+(?:\d|[IVXLC]+\b)")
# What stands before a German ordinal: "der 1. Vorsitzende". "I am 25. My ..." is told by its "I".
_BEFORE_ORDINAL = re.compile(
    r"(?:\A|[\s(])(?:der|die|das|dem|den|des|(?<!\bI )am|im|vom|zum|zur|beim|und|ein|eine[mnrs]?"
    r"|jede[mnrs]?|seit|unsere?[mnrs]?)\s+\d{1,2}\Z",
    re.IGNORECASE,
)
_ORDINAL_CHARS = 16  # "I am 25", "(unserem 10"
_DAY = re.compile(r"(?:\A|[^\w.,])\d{1,2}\Z")
_MONTH_AFTER = re.compile(rf"\s+{_MONTH}")
_NEW_SENTENCE = re.compile(
    r"""\s+["'“‘(\[]*(?:The|A|An|In|It|He|She|They|We|This|That|These|Those|But|And|However|On|At|As|When|While|For|By"""
    r"""|After|Before|During|Since|His|Her|Its|Their|Our|There|If|One|Some|Many|Most|With|From|To|Although|Though"""
    r"""|Der|Die|Das|Ein|Eine|Es|Er|Sie|Wir|Ich|Im|Auf|Bei|Mit|Nach|Von|Für|Dies|Diese[rs]?|Wenn|Als|Danach|Dann|Aber)\b"""
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """text[start:end] of the text it was found in."""

    start: int
    end: int
    is_heading: bool = False


def sentences(text: str) -> list[Sentence]:
    """The sentences of `text`, in order, disjoint; only blanks and list marks lie outside them."""
    found = []
    for start, end in _blocks(text):
        is_heading = _HEADING.match(text, start, end) is not None
        for first, last in _split(text, start, end):
            found += [Sentence(a, b, is_heading) for a, b in _bounded(text, first, last)]
    return found


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Spans that no sentence crosses: paragraphs, and every line that is structure."""
    start = 0
    for match in _LINE_END.finditer(text):
        is_blank = text[match.end() : match.end() + 1] == "\n" or text[start : match.start()].strip() == ""
        line = text.rfind("\n", start, match.start()) + 1 or start
        heads_next = _STRUCTURE.match(text, match.end()) is not None or _is_numbered(text, start, match)
        stands_alone = _HEADING.match(text, line, match.start()) or FENCE_LINE.match(text, line)
        if is_blank or heads_next or stands_alone or _are_records(text, line, match.end()):
            yield start, match.start()
            start = match.end()
    yield start, len(text)


def _is_numbered(text: str, block: int, line_end: re.Match[str]) -> bool:
    """Whether the next line's number is a list's: a wrapped line may begin with one, too ("It rose to\\n25. Then")."""
    mark = _NUMBERED.match(text, line_end.end())
    if mark is None:
        return False
    number, before = int(mark[1]), text[max(block, line_end.start() - _LAST_SIGNS) : line_end.start()]
    last = _NUMBERED.match(text, block)
    if _FINISHED.search(before) or (last is not None and number == int(last[1]) + 1):
        return True
    indent = text[mark.start() : mark.start(1)]
    return text.find(f"\n{indent}{number + 1}{mark[2]}", mark.end()) >= 0


def _are_records(text: str, line: int, after: int) -> bool:
    """Whether both lines are records of one kind, or the first names the cells of the second."""
    if _TIMED.match(text, line) and _TIMED.match(text, after):
        return True
    field = _FIELD.match(text, after)
    if field is None:
        return False
    return _FIELD.match(text, line) is not None or text.startswith(f"{field.group()[:-1]} | ", line)


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    start = _LEAD.match(text, start, end).end()  # type: ignore[union-attr]  # matches the empty string too
    first = start
    opener = _OPENER if any(char.isupper() for char in text[start:end]) else _ANY_OPENER
    for stop in _STOP.finditer(text, start, end):
        if _ends_sentence(text, first, stop, end=end, opener=opener):
            yield first, stop.end()
            first = stop.end()
    yield first, end


def _ends_sentence(text: str, first: int, stop: re.Match[str], *, end: int, opener: re.Pattern[str]) -> bool:
    if stop.group()[0] in "。！？":
        return True
    if not opener.match(text, stop.end(), end):
        return False
    if stop.group() != ".":
        return True
    if _is_ordinal(text[max(first, stop.start() - _ORDINAL_CHARS) : stop.start()], text, stop.end(), end):
        return False
    word = text[first : stop.start()].rsplit(None, 1)[-1:] or [""]
    return not _is_abbreviation(word[0].lstrip("(['\"“‘"), text, stop.end(), end)


def _is_ordinal(before: str, text: str, after: int, end: int) -> bool:
    """Whether the stop after a number makes it a German ordinal: "am 3. Oktober", "der 1. Vorsitzende"."""
    if not before[-1:].isdigit() or not _DAY.search(before):
        return False
    if _MONTH_AFTER.match(text, after, end):
        return True
    return _BEFORE_ORDINAL.search(before) is not None and not _NEW_SENTENCE.match(text, after, end)


def _is_abbreviation(word: str, text: str, after: int, end: int) -> bool:
    """Whether the stop after `word` belongs to the word; those that may end a sentence do so before a usual opener."""
    lower = word.lower()
    is_initial = len(word) == 1 and word.isalpha() and word.isupper()
    is_dotted = re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", word) is not None
    if lower in _BEFORE_NUMBER and not is_initial:
        return _A_NUMBER.match(text, after, end) is not None
    if word == "z" and text.startswith(" B.", after):
        return True
    if word in _UNITS or (lower not in _TITLES and not is_initial and not is_dotted):
        return False
    may_end = lower in _ENDS_ANYWAY or is_dotted or is_initial
    return not (may_end and _NEW_SENTENCE.match(text, after, end))


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without blanks around it, in pieces of at most MAX_SENTENCE_CHARS cut where it hurts least."""
    while True:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if start >= end:
            return
        if end - start <= MAX_SENTENCE_CHARS:
            yield start, end
            return
        cut = _soft_cut(text, start, start + MAX_SENTENCE_CHARS)
        yield start, start + len(text[start:cut].rstrip())
        start = cut


def _soft_cut(text: str, start: int, limit: int) -> int:
    """Where to cut: the last semicolon or line end of the second half, else comma, else blank, else the limit."""
    half = start + (limit - start) // 2
    for pattern in (r"[;\n]\s*", r",\s+", r"\s+"):
        cuts = [match.end() for match in re.finditer(pattern, text[half:limit])]
        if cuts:
            return half + cuts[-1]
    return limit
