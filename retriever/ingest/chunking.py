"""Cuts an extracted text into chunks: by structure first, then by sentences, in sizes the model reads well.

Rule 1: every chunk is text[start:end], trimmed, never empty; together they hold every character that is not white.
Rule 2: the same text, title and tokenizer give the same chunks; a change of anything here changes CHUNKER_VERSION.
Rule 3: a chunk never crosses a page, slide or sheet, so its page is exact; nor a heading, unless little is before it.
Rule 4: `embed_text` (context, then the chunk) never exceeds the model's window: what would be cut off cannot be found.

Borders are not set greedily: of all ways to cut a stretch at sentence ends, the one with the least total cost is taken
(sizes near the target, borders where a paragraph ends), so a long paragraph gives equal parts, no full one and a rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from chassis.errors import DocumentTooLarge
from embedding.ports import TokenSpans
from retriever.documents import ChunkDraft, ParsedDocument, TextBlock
from retriever.ingest.parsing.text import MAX_TITLE_CHARS, heading_name
from retriever.ingest.sentences import sentence_spans
from retriever.ingest.tokens import EstimatedSpans, Measure


@dataclass(frozen=True, slots=True)
class ChunkingPolicy:
    """Sizes in the model's tokens. The values were chosen by bench/quality, see docs/decisions.

    Attributes:
        target_tokens: What a chunk should have.
        max_tokens: What it never exceeds, its overlap included.
        overlap_tokens: At most this much of the end of the chunk before is repeated, in whole sentences; 0 = none.
        merge_below_tokens: A section smaller than this joins the one after it.
        context_tokens: At most this much title and section stands before the chunk in `embed_text`; 0 = none.
        window_tokens: The model's window less its two special tokens.
        sentence_border_cost: Of a border inside a paragraph, beside the square of a size's relative deviation.
    """

    target_tokens: int = 180
    max_tokens: int = 216
    overlap_tokens: int = 25
    merge_below_tokens: int = 60
    context_tokens: int = 36
    window_tokens: int = 254
    sentence_border_cost: float = 0.3


DEFAULT_POLICY = ChunkingPolicy()
CHUNKER_VERSION = "1"
SECTION_SEPARATOR = " > "
# Choosing borders takes some 50 us a unit where units are shortest. A book of 3,000 pages has 100,000 sentences.
MAX_UNITS = 400_000
# More white space than this inside a chunk would make its characters unbounded though its tokens are not.
MAX_GAP_CHARS = 256


@dataclass(frozen=True, slots=True)
class _Unit:
    """The smallest thing that is not cut: a sentence, a row, a line, a heading; or a part of one that is too long."""

    start: int
    end: int
    tokens: int
    section: tuple[str, ...]
    page: int
    heads: bool  # a heading: a chunk may begin here, and must not end here
    opens: bool  # the first of its block: a border before it cuts no paragraph


def chunk(
    parsed: ParsedDocument, *, title: str, tokens: TokenSpans | None, policy: ChunkingPolicy = DEFAULT_POLICY
) -> list[ChunkDraft]:
    """Cut a document.

    Args:
        parsed: Text and blocks; text outside of all blocks is taken as paragraphs.
        title: Stands in `embed_text`, not in the chunk.
        tokens: The model's tokenizer; None estimates (a lexical-only installation).
        policy: Sizes.
    Returns:
        Drafts in document order; empty only for a text without any character that is not white.
    Raises:
        DocumentTooLarge: it has more than MAX_UNITS sentences, rows and lines.
    """
    measure = Measure(parsed.text, tokens or EstimatedSpans())
    units = list(itertools.islice(_units(parsed, measure, policy), MAX_UNITS + 1))
    if len(units) > MAX_UNITS:
        said = f"the document has more than {MAX_UNITS} sentences and rows: split it"
        raise DocumentTooLarge(said, metadata={"max_units": str(MAX_UNITS)})
    context = _Context(title, tokens or EstimatedSpans(), policy)
    drafts: list[ChunkDraft] = []
    for stretch in _stretches(units, policy):
        for first, last in _cut(stretch, policy):
            first = _overlapped(stretch, first, last, policy)  # noqa: PLW2901 - the same border, moved back
            drafts.append(context.draft(parsed.text, stretch[first:last]))
    return drafts


def _units(parsed: ParsedDocument, measure: Measure, policy: ChunkingPolicy) -> Iterator[_Unit]:
    path: list[tuple[int, str]] = []
    for block in _all_blocks(parsed):
        if block.kind == "heading":
            # A paragraph that is styled as a heading is kept with every chunk under it, and by the stores as one word.
            title = heading_name(parsed.text[block.start_char : block.end_char])[:MAX_TITLE_CHARS]
            path = [*((level, name) for level, name in path if level < block.level), (block.level, title)]
        section = tuple(name for _, name in path)
        opens = True
        for start, end in _pieces(parsed.text, block):
            for from_, to, size in measure.split(start, end, policy.max_tokens):
                yield _Unit(
                    start=from_,
                    end=to,
                    tokens=size,
                    section=section,
                    page=block.page,
                    heads=block.kind == "heading",
                    opens=opens,
                )
                opens = False


def _all_blocks(parsed: ParsedDocument) -> Iterator[TextBlock]:
    """The blocks, and a paragraph for every text between them."""
    position, page = 0, 0
    for block in parsed.blocks:
        if parsed.text[position : block.start_char].strip():
            yield TextBlock("paragraph", position, block.start_char, page=page)
        yield block
        position, page = block.end_char, block.page
    if parsed.text[position:].strip():
        yield TextBlock("paragraph", position, len(parsed.text), page=page)


def _pieces(text: str, block: TextBlock) -> Iterator[tuple[int, int]]:
    if block.kind != "code":
        yield from sentence_spans(text, block.start_char, block.end_char)
        return
    position = block.start_char
    for line in text[block.start_char : block.end_char].splitlines(keepends=True):
        blank = len(line) - len(line.lstrip())
        if line.strip():
            yield position + blank, position + len(line.rstrip())
        position += len(line)


def _stretches(units: Sequence[_Unit], policy: ChunkingPolicy) -> Iterator[list[_Unit]]:
    """Runs of units that may share chunks: one section or several small ones, one page, no wide gaps."""
    stretch: list[_Unit] = []
    size = 0
    for unit in units:
        if stretch and _is_apart(stretch[-1], unit, size, policy):
            yield stretch
            stretch, size = [], 0
        stretch.append(unit)
        size += unit.tokens
    if stretch:
        yield stretch


def _is_apart(before: _Unit, unit: _Unit, size: int, policy: ChunkingPolicy) -> bool:
    if unit.page != before.page or unit.start - before.end > MAX_GAP_CHARS:
        return True
    return unit.heads and not before.heads and size >= policy.merge_below_tokens


def _cut(units: Sequence[_Unit], policy: ChunkingPolicy) -> list[tuple[int, int]]:
    """The cheapest way to cut the units into chunks, as index ranges (shortest paths over the borders)."""
    best = [0.0] + [float("inf")] * len(units)
    origin = [0] * (len(units) + 1)
    for end in range(1, len(units) + 1):
        size = 0
        for start in range(end - 1, -1, -1):
            size += units[start].tokens
            if size > policy.max_tokens and start < end - 1:
                break
            cost = best[start] + _cost(units, start, end, size=size, policy=policy)
            if cost < best[end]:
                best[end], origin[end] = cost, start
    ranges = []
    end = len(units)
    while end > 0:
        ranges.append((origin[end], end))
        end = origin[end]
    return ranges[::-1]


def _cost(units: Sequence[_Unit], start: int, end: int, *, size: int, policy: ChunkingPolicy) -> float:
    cost = ((size - policy.target_tokens) / policy.target_tokens) ** 2
    if start > 0 and not units[start].opens:
        cost += policy.sentence_border_cost
    if end < len(units) and units[end - 1].heads:
        cost += 1.0  # a heading without what it heads: as bad as a chunk of nothing
    return cost


def _overlapped(units: Sequence[_Unit], first: int, last: int, policy: ChunkingPolicy) -> int:
    """Where the chunk begins once whole sentences of the one before it are repeated."""
    size = sum(unit.tokens for unit in units[first:last])
    room = min(policy.overlap_tokens, policy.max_tokens - size)
    while first > 0 and not units[first].heads and units[first - 1].tokens <= room:
        first -= 1
        room -= units[first].tokens
    return first


class _Context:
    """Makes drafts: section, page, and the text to embed."""

    def __init__(self, title: str, tokens: TokenSpans, policy: ChunkingPolicy) -> None:
        self._title = " ".join(title.split())
        self._tokens = tokens
        self._policy = policy

    def draft(self, text: str, units: Sequence[_Unit]) -> ChunkDraft:
        start, end = units[0].start, units[-1].end
        section = _common(units)
        draft = ChunkDraft(start, end, SECTION_SEPARATOR.join(section), units[0].page, embed_text=text[start:end])
        return replace(draft, embed_text=self._with_context(text[start:end], section))

    def _with_context(self, body: str, section: Sequence[str]) -> str:
        names = [self._title, *(name for name in section if name != self._title)]
        opening = body.split("\n", 1)[0]  # a heading that opens the chunk is in it already
        context = SECTION_SEPARATOR.join(name for name in names if name and name not in opening)
        spans = self._tokens.spans(context)
        room = min(self._policy.context_tokens, self._policy.window_tokens - self._tokens.count(body))
        if not spans or room <= 0:
            return body
        return f"{context[: spans[min(room, len(spans)) - 1][1]]}\n{body}"


def _common(units: Sequence[_Unit]) -> tuple[str, ...]:
    """The section all units share; of a heading, what stands under it counts."""
    paths = [unit.section for unit in units if not unit.heads] or [units[-1].section]
    common = paths[0]
    for path in paths[1:]:
        same = next(
            (i for i, (a, b) in enumerate(zip(common, path, strict=False)) if a != b), min(len(common), len(path))
        )
        common = common[:same]
    return common
