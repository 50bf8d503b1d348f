"""HTML: what a reader of the page came for. Scripts, styles, forms and navigation are left out.

Does not: run scripts, load anything, or notice what CSS hides. Entities are resolved by the HTML parser (a fixed
table: nothing can expand), and its tree is walked without recursion, so depth is no danger.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from chassis.errors import DocumentEmpty
from retriever.documents import ParsedDocument
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.tables import Table
from retriever.ingest.parsing.text import CODE, HEADING, LIST_ITEM, PARAGRAPH, TABLE_ROW, TextBuilder

# Never shown as text, or not part of what the page says.
_NEVER = frozenset(
    """
    script style noscript template svg math iframe object embed canvas audio video select button input textarea head
    """.split()  # noqa: SIM905 - tags read better as words than as a column of quotes
)
_BOILERPLATE = frozenset({"nav", "footer", "aside"})
_BOILERPLATE_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PARAGRAPHS = """
    p div section article main body header blockquote figure figcaption address details summary form fieldset
    ul ol dl dt dd table thead tbody tfoot caption hr html nav footer aside center legend hgroup menu dir search dialog
    """.split()  # noqa: SIM905 - as above
_ROW_GROUPS = frozenset({"thead", "tbody", "tfoot"})
_TO_THE_END = 65534  # rows: what rowspan=0 means, and the most that HTML allows
_NUMBER = re.compile(r"\s*[-+\u2212]?\d")
_DEFINITIONS = frozenset({"dt", "dd"})
_BLOCKS = {
    **dict.fromkeys(_HEADINGS, HEADING),
    "li": LIST_ITEM,
    "pre": CODE,
    **dict.fromkeys(_PARAGRAPHS, PARAGRAPH),
}


def parse_html(text: str, limits: ParseLimits) -> ParsedDocument:
    """Headings, paragraphs, list items, code and table rows; the title is the page's."""
    tree = LexborHTMLParser(text)
    title = tree.css_first("head > title")
    name = title.text() if title is not None else ""
    mains = tree.css("main, [role=main]")
    root = mains[0] if len(mains) == 1 else tree.body
    try:
        return _extracted(root, name, limits, keep_boilerplate=False)
    except DocumentEmpty:
        # A page that is one <nav> or whose <main> is filled by a script: everything there is then.
        return _extracted(tree.body, name, limits, keep_boilerplate=True)


def _extracted(root: LexborNode | None, title: str, limits: ParseLimits, *, keep_boilerplate: bool) -> ParsedDocument:
    builder = TextBuilder(limits)
    if root is not None:
        flow = _Flow(builder)
        _walk(root, flow, lambda node: _is_dropped(node, keep_boilerplate=keep_boilerplate))
        flow.finish()
    return builder.build(title=title, content_type=Format.HTML)


def _is_dropped(node: LexborNode, *, keep_boilerplate: bool) -> bool:
    tag = node.tag or ""
    if tag in _NEVER and not (tag == "button" and _is_a_heading_s(node)):
        return True
    attributes = node.attributes
    is_hidden = "hidden" in attributes and attributes["hidden"] != "until-found"  # which opens when it is looked for
    if is_hidden or attributes.get("aria-hidden") == "true":
        return True
    return not keep_boilerplate and (tag in _BOILERPLATE or attributes.get("role") in _BOILERPLATE_ROLES)


def _is_a_heading_s(button: LexborNode) -> bool:
    """Whether a button is all that a heading says: a question whose answer it opens, not a link to be copied."""
    parent = button.parent
    if parent is None or not (parent.tag in _HEADINGS or parent.tag == "dt"):
        return False
    before = button.prev is None or (_is_blank(button.prev) and button.prev.prev is None)
    return before and (button.next is None or (_is_blank(button.next) and button.next.next is None))


def _is_blank(node: LexborNode) -> bool:
    return node.is_text_node and not (node.text_content or "").strip()


def _walk(root: LexborNode, flow: _Flow, is_dropped: Callable[[LexborNode], bool]) -> None:
    """Depth first, with an explicit stack of elements to close."""
    open_: list[LexborNode] = []
    node: LexborNode | None = root
    while node is not None:
        if node.is_text_node:
            flow.text(node.text_content or "")
        elif node.is_element_node and not is_dropped(node):
            flow.enter(node.tag or "")
            if node.child is not None:
                open_.append(node)
                node = node.child
                continue
            flow.leave(node)
        while node.next is None and open_:
            node = open_.pop()
            flow.leave(node)
        node = node.next if open_ else None


def _span(said: str | None) -> int:
    """How many columns or rows a cell says it is in."""
    said = (said or "1").strip()
    return min(int(said), _TO_THE_END) if said.isdecimal() and len(said) <= len(str(_TO_THE_END)) else 1


@dataclass(slots=True)
class _Flow:
    """Text in the making: inline text gathers until a block begins or ends."""

    builder: TextBuilder
    _words: list[str] = field(default_factory=list)
    # The open blocks, innermost last, each with the tag that names what is said in it (a plain <div> says what its
    # <li> is). Kept per level: looking for it downwards took 53 s for a page of 50,000 nested blocks.
    _kinds: list[tuple[str, str]] = field(default_factory=list)
    _tables: list[Table] = field(default_factory=lambda: [Table()])  # the open ones, innermost last
    _is_raised: bool = False  # what comes next stands above a number
    _terms: list[str] = field(default_factory=list)  # of a <dl>, until what is said of them

    def text(self, text: str) -> None:
        if self._is_raised and _NUMBER.match(text):
            self._words.append("^")  # 10<sup>6</sup> is not 106
        self._is_raised = False
        self._words.append(text.replace("\u00ad", ""))  # where a word may break: nobody looks for it with that

    def enter(self, tag: str) -> None:
        if tag == "br":
            self._words.append("\n" if self._kind == "pre" else " ")
        elif tag == "sup":
            self._is_raised = bool(self._words) and self._words[-1][-1:].isdecimal()
        elif tag == "tr":
            self.flush()
            self._table.open_row()
        elif tag == "table":
            self._open_table()
        elif tag in _ROW_GROUPS and not self._table.is_row_open:
            self._table.open_group()
            self._block(tag)
        elif tag in _BLOCKS:
            self._block(tag)

    def _open_table(self) -> None:
        if self._table.is_row_open:
            self._row(self._table.break_row(self._taken()))
        self._tables.append(Table())
        self._block("table")

    def _block(self, tag: str) -> None:
        if self._table.is_row_open:
            self._words.append(" ")  # a paragraph within a cell
            return
        self.flush()
        is_plain = _BLOCKS[tag] == PARAGRAPH and tag not in _DEFINITIONS
        self._kinds.append((tag, self._kind if is_plain else tag))

    def leave(self, node: LexborNode) -> None:
        tag = node.tag or ""
        self._is_raised = self._is_raised and tag != "sup"
        if tag in {"td", "th"}:
            self._leave_cell(node)
        elif tag == "tr" and self._table.is_row_open:
            self._row(self._table.end_row())
        elif tag in _BLOCKS and self._table.is_row_open:
            self._words.append(" ")  # and what follows it
        elif tag in _BLOCKS:
            self.flush()
            if self._kinds and self._kinds[-1][0] == tag:  # not one that began within a table's row
                self._kinds.pop()
            if tag == "table" and len(self._tables) > 1:
                self._tables.pop()

    def _leave_cell(self, cell: LexborNode) -> None:
        if not self._table.is_row_open:
            self.flush()
        attributes = cell.attributes
        columns, rows = _span(attributes.get("colspan")) or 1, _span(attributes.get("rowspan")) or _TO_THE_END
        self._table.end_cell(self._taken(), is_name=cell.tag == "th", columns=columns, rows=rows)

    def _row(self, text: str) -> None:
        self._words.clear()
        self._leave_terms()
        self.builder.add(text, TABLE_ROW)

    def _taken(self) -> str:
        """The words until here, which are then said."""
        text = "".join(self._words)
        self._words.clear()
        return text

    @property
    def _table(self) -> Table:
        return self._tables[-1]

    @property
    def _kind(self) -> str:
        """The tag that names what is said here; "" where only paragraphs are open."""
        return self._kinds[-1][1] if self._kinds else ""

    def flush(self) -> None:
        text = self._taken()
        tag = self._kind
        if tag == "pre":
            self._leave_terms()
            self.builder.add(text, CODE)
            return
        text = " ".join(text.split())
        if not text:
            return
        if tag == "dt":
            self._terms.append(text)
            return
        if self._terms and tag == "dd":
            text = f"{', '.join(self._terms)}: {text}"  # apart, a term is a line that says nothing
            self._terms.clear()
        self._leave_terms()
        self.builder.add(text, _BLOCKS.get(tag, PARAGRAPH), level=_HEADINGS.get(tag, 0))

    def _leave_terms(self) -> None:
        """Say the terms that nothing is said of."""
        for term in self._terms:
            self.builder.add(term, PARAGRAPH)
        self._terms.clear()

    def finish(self) -> None:
        """Flush what is left at the page's end."""
        self.flush()
        self._leave_terms()
