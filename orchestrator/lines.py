"""A passage as lines: its sentences, and which of them can answer anything.

Rule 1: a heading, a question, a table's head or a comment answers nothing, but the first three speak for what stands
        under them. A heading with a date tells when, as those of change logs and minutes do.
Rule 2: a sentence that ends in a colon answers together with the list or the code it introduces; what it shares with
        the question is its own, so that a single item may be the better answer.
Rule 3: what stands in a fenced block is code. The fences themselves, and what they say of a language, are nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from embedding.unspaced import is_unspaced
from orchestrator.aloud import TABLE_ROW, Form, without_comments
from orchestrator.listings import announces, listing_end
from orchestrator.sentences import FENCE_LINE, Sentence, sentences
from orchestrator.types import Source
from orchestrator.words import Word, words

__all__ = ["Line", "PassageLines"]

_MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = re.compile(
    r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{4}\b"
    rf"|\b{_MONTH} (?:\d{{1,2}}(?:st|nd|rd|th)?,? )?\d{{4}}\b",
    re.IGNORECASE,
)
_TABLE_RULE_CHARS = frozenset("|:- \t")
_BLANK_BEFORE = re.compile(r"(?:\A|\n[ \t]*\n)\s*\Z")
_BLANK_AFTER = re.compile(r"[ \t]*\n[ \t]*\n\s*\S")
LOOK_BACK_CHARS = 200  # more blanks than that before a line are as good as a blank line
_MIN_PROSE_WORDS = 3  # "`--verbose`" names something and says nothing of it
_STOPS = ".!\u2026"
_CLOSES = re.compile(r"\s*\Z|[ \t]*\n[ \t]*\n")
_MIN_RULE = 2  # signs; shorter ones are dashes
TITLE_WORDS = 10  # longer lines without a full stop are sentences somebody did not finish


@dataclass(frozen=True, slots=True)
class Line:
    """text[start:end] of the passage.

    Attributes:
        before: Stems of the line before; of title and section for the first.
        lead: The heading or question it stands under directly; "" when there is none.
        can_answer: False for headings, questions, comments and lines without a word.
        is_prose: False for a table's row, code, a line of a word or two, and a short line of its own: facts, or a
            heading without its markup.
        form: How it is said.
        listed: What it introduces: said with it, and within `end`.
        is_empty: It announces what is not here.
        tells_when: A heading that has a date: an answer to those who ask for one.
    """

    start: int
    end: int
    words: tuple[Word, ...]
    stems: frozenset[str]
    before: frozenset[str]
    lead: str
    can_answer: bool
    is_prose: bool
    form: Form = Form.SENTENCE
    tells_when: bool = False
    listed: tuple[Word, ...] = ()
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class _Head:
    """A table's head."""

    stems: frozenset[str]
    text: str


_NO_HEAD = _Head(frozenset(), "")


@dataclass(frozen=True, slots=True)
class PassageLines:
    """A source, read.

    Attributes:
        rank: 1-based, best first.
        stems: Of its title, section and text.
    """

    rank: int
    source: Source
    stems: frozenset[str]
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, rank: int, source: Source) -> PassageLines:
        titles = {part.strip().casefold() for part in (source.title, *source.section.split(" > "))}
        before = context = frozenset(word.stem for word in words(f"{source.title} {source.section}"))
        lead, head = source.section, _NO_HEAD
        spans, lines = sentences(source.text), list[Line]()
        is_code = _starts_in_code(source.text)
        for index, span in enumerate(spans):
            text = source.text[span.start : span.end]
            is_fence = FENCE_LINE.fullmatch(text) is not None
            is_code = is_code != is_fence
            line_words = () if is_fence else tuple(words(text))
            stems = frozenset(word.stem for word in line_words)
            end = span.end if is_code or span.is_heading else listing_end(source.text, span.start, span.end)
            is_listing = end > span.end
            is_head = not is_listing and (
                _heads(source.text, span, spans[index + 1 : index + 2]) or _bare(text).casefold() in titles
            )
            is_row = TABLE_ROW.fullmatch(text) is not None
            if not is_row:
                head = _NO_HEAD
            elif not is_head and head.stems:
                before, lead = head.stems, head.text  # of all rows, not of the first alone
            can_answer = bool(stems) and not is_head and bool(without_comments(text).strip())
            is_title = _stands_alone(source.text, span)
            is_prose = is_listing or not (is_title or is_row or is_code or _is_bare(text))
            line = Line(span.start, end, line_words, stems, before, lead, can_answer, is_prose)
            lines.append(
                replace(
                    line,
                    form=Form.LISTING if is_listing else Form.CODE if is_code else Form.SENTENCE,
                    tells_when=is_head and text[-1] != "?" and _DATE.search(text) is not None,
                    listed=tuple(words(source.text[span.end : end])),
                    is_empty=not (is_listing or is_code) and announces(text),
                )
            )
            if is_row and is_head:
                head = _Head(stems, _bare(text))
            if stems:
                before, lead = stems, _bare(text) if is_title or not can_answer else ""
        return cls(rank, source, context.union(*(line.stems for line in lines)), tuple(lines))


def _heads(text: str, span: Sentence, following: list[Sentence]) -> bool:
    """Whether the line only announces what follows."""
    if span.is_heading or text[span.end - 1] == "?":
        return True
    line = text[span.start : span.end]
    after = [text[one.start : one.end] for one in following]
    return _is_underlined(line) or any(_is_rule(one) or _names_cells(line, one) for one in after)


def _is_underlined(line: str) -> bool:
    """One line of words and one drawn under it."""
    words_, _, under = line.partition("\n")
    return len(under) > _MIN_RULE and len(set(under)) == 1 and under[0] in "=-~^" and any(map(str.isalnum, words_))


def _names_cells(line: str, row: str) -> bool:
    """Whether the line holds a table's names and the row is one of its records: "Site | Open", "Site: Lyon; ..."."""
    name, bar, _ = line.partition(" | ")
    return bool(bar) and row.startswith(f"{name}: ")


def _is_rule(text: str) -> bool:
    """The line under a table's head. Not a regular expression: 600 dashes and a letter would take it minutes."""
    return "--" in text and _TABLE_RULE_CHARS.issuperset(text)


def _stands_alone(text: str, span: Sentence) -> bool:
    """A short line without a stop between blank lines, with more below: what a heading is when its markup is gone."""
    line = text[span.start : span.end]
    if len(line.split()) > TITLE_WORDS or not (line[-1].isalnum() or line[-1] in ")\"'"):
        return False
    above = _BLANK_BEFORE.search(text, max(0, span.start - LOOK_BACK_CHARS), span.start)
    return above is not None and _BLANK_AFTER.match(text, span.end) is not None


def _starts_in_code(text: str) -> bool:
    """Whether the passage was cut within a block: its first fence closes one. Only an opening one names a language."""
    fences = list(FENCE_LINE.finditer(text))
    named = next((index for index, fence in enumerate(fences) if fence[1]), None)
    if named is not None:
        return named % 2 == 1
    return len(fences) % 2 == 1 and _CLOSES.match(text, fences[0].end()) is not None


def _is_bare(text: str) -> bool:
    """A name and nothing said of it: a word or two without a stop."""
    return len(text.split()) < _MIN_PROSE_WORDS and text[-1] not in _STOPS and not is_unspaced(text)


def _bare(text: str) -> str:
    return text.strip("#*_:=-~^ \t\n")
