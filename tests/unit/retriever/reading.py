"""What a parser makes of a document."""

from __future__ import annotations

from chassis.budget import Budget
from retriever.documents import DocumentSource, ParsedDocument
from retriever.ingest.parsing import Parser


async def parsed(parser: Parser, document_id: str, data: bytes, content_type: str = "") -> ParsedDocument:
    source = DocumentSource(document_id, data, content_type=content_type)
    return await parser.parse(source, budget=Budget.of(60))


def shown(document: ParsedDocument) -> list[tuple[str, int, int, str]]:
    return [(b.kind, b.level, b.page, document.text[b.start_char : b.end_char]) for b in document.blocks]
