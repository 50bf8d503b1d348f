"""Plain text: kept verbatim, paragraphs told by blank lines."""

from __future__ import annotations

from retriever.documents import ParsedDocument, TextBlock
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.text import check_length, finished, paragraph_spans


def parse_plain(text: str, limits: ParseLimits) -> ParsedDocument:
    """The text itself, with its paragraphs as blocks; it names no title."""
    check_length(len(text), limits)
    blocks = [TextBlock("paragraph", start, end) for start, end in paragraph_spans(text, 0, len(text))]
    return finished(text, blocks, title="", content_type=Format.PLAIN)
