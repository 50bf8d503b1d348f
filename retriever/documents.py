"""A document on its way in: as its owner sent it, as it was parsed, as it is cut. Offsets count Unicode code points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from retriever.types import Metadata


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A document as its owner sent it, validated; a `content_type` of "" means: tell it from id and bytes."""

    document_id: str
    data: bytes
    title: str = ""
    uri: str = ""
    source: str = ""
    content_type: str = ""
    metadata: Metadata = field(default_factory=dict)
    groups: tuple[str, ...] = ("*",)


BLOCK_KINDS: Final = ("heading", "paragraph", "list_item", "code", "table_row")


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A structural piece of an extracted text: text[start_char:end_char] of the document.

    Attributes:
        kind: One of BLOCK_KINDS.
        level: Heading depth 1..6; 0 for everything else.
        page: 1-based page, slide or sheet; 0 when the format has none.
    """

    kind: str
    start_char: int
    end_char: int
    level: int = 0
    page: int = 0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document's extracted text and its structure, in document order, blocks disjoint."""

    text: str
    blocks: tuple[TextBlock, ...]
    title: str  # "" when the file names none
    content_type: str  # as decided


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """A chunk before it has a version: offsets into ParsedDocument.text."""

    start_char: int
    end_char: int
    section: str
    page: int
    embed_text: str
