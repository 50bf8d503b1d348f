"""How what is quoted is said: verbatim but for marks that mean something only where they stand.

Rule 1: every word stays. What goes: wrapped lines, headings' marks, emphasis, link targets, comments, table bars, and
        the document's own reference numbers (they would be taken for our markers). A bracket that holds a 0 is an
        interval or an index, never a reference.
Rule 2: code is said as it stands, and as code: between backticks or fences its "[1]" is an index for
        orchestrator.citations too.
Rule 3: a list keeps a line for each of its items, with their signs.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from textwrap import dedent

from orchestrator.listings import FENCED, ITEM

__all__ = ["TABLE_ROW", "Form", "said_aloud", "without_comments"]

TABLE_ROW = re.compile(r"\|.*\|\s*", re.DOTALL)
_REFERENCE = re.compile(r"\[\s*[1-9]\d{0,2}(?:\s*,\s*[1-9]\d{0,2})*\s*\]")
_MARK = re.compile(r"\A\s*#{1,6}\s+")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
# "2**10**3" and "__init__.py" are no emphasis. Signs of scripts without blanks may stand on both sides of one.
_EMPHASIS = re.compile(
    r"(?<![A-Za-z0-9_])\*\*(?=\S)(.+?)(?<=\S)\*\*(?![A-Za-z0-9_])|(?<![\w.])__(?=\S)(.+?)(?<=\S)__(?!\w|\.\w|\()"
)
_CELL_BREAK = re.compile(r"(?<!\\)\|")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_KEPT = re.compile("\0(\\d+)\0")  # where a span of code was: no document holds the sign NUL
_FIRST_PART = re.compile(r"(?:[ \t]*\n)+[ \t]*(?:[-*+\u2022][ \t]|\d{1,3}[.)][ \t]|```|~~~)")
_SIGNS = str.maketrans("+*", "--")


class Form(Enum):
    """What a quoted text is."""

    SENTENCE = auto()
    CODE = auto()  # lines of a fenced block, without the fences
    LISTING = auto()  # an introduction with the list or the block of code it introduces


def said_aloud(text: str, form: Form = Form.SENTENCE) -> str:
    """A quoted text as a reader of plain text wants it; every word of it stays."""
    said = {Form.SENTENCE: _sentence_aloud, Form.CODE: _code_aloud, Form.LISTING: _listing_aloud}
    return said[form](text)


def without_comments(text: str) -> str:
    return _COMMENT.sub("", text)


def _sentence_aloud(text: str) -> str:
    spans: list[str] = []

    def keep(span: re.Match[str]) -> str:
        spans.append(span[2].replace("`", ""))
        return f"\0{len(spans) - 1}\0"

    text = _SPAN.sub(keep, text.replace("\0", " "))
    text = text.replace("`", "")  # a lone one would turn what follows, our marker included, into code
    text = _LINK.sub(r"\1", _REFERENCE.sub("", _COMMENT.sub("", _MARK.sub("", text))))
    while (plainer := _EMPHASIS.sub(lambda marked: marked[1] or marked[2], text)) != text:
        text = plainer
    if TABLE_ROW.fullmatch(text):
        text = _row_aloud(text)
    text = _KEPT.sub(lambda kept: f"`{spans[int(kept[1])]}`", text)
    return " ".join(text.split())


def _code_aloud(text: str) -> str:
    if "\n" not in text and "`" not in text:
        return f"`{text}`"
    return f"```\n{text.replace('```', '')}\n```"


def _listing_aloud(text: str) -> str:
    first = _FIRST_PART.search(text)
    position = first.start() if first else len(text)
    said, margin = [_sentence_aloud(text[:position])], None
    while (part := FENCED.match(text, position) or ITEM.match(text, position)) is not None:
        position = part.end()
        indent = len(part["indent"].expandtabs())
        margin = indent if margin is None else min(margin, indent)
        if part.re is FENCED:
            said.append(f"```{part['language']}\n{dedent(part['code']).replace('```', '')}\n```")
        else:
            sign = part["sign"].translate(_SIGNS)
            said.append(f"{' ' * (indent - margin)}{sign} {_sentence_aloud(part['said'])}")
    return "\n".join(said)


def _row_aloud(text: str) -> str:
    cells = [cell.strip() for cell in _CELL_BREAK.split(text) if cell.strip()]
    return f"{cells[0]}: {'; '.join(cells[1:])}" if len(cells) > 1 else "".join(cells)
