"""The formats that are text: decoded and parsed in this process, by code that is linear in the input.

HTML is decoded here and parsed in the child.
"""

from __future__ import annotations

from retriever.documents import ParsedDocument
from retriever.ingest.parsing.encoding import declared_charset, decode
from retriever.ingest.parsing.formats import Decision, Format
from retriever.ingest.parsing.limits import ParseLimits
from retriever.ingest.parsing.markdown import parse_markdown
from retriever.ingest.parsing.plain import parse_plain
from retriever.ingest.parsing.records import parse_csv, parse_json


def parse_text(data: bytes, decision: Decision, limits: ParseLimits) -> ParsedDocument:
    """Parse one document of a text format. Raises the DocumentError that fits."""
    match decision.format:
        case Format.MARKDOWN:
            return parse_markdown(decode(data, decision.charset), limits)
        case Format.CSV | Format.TSV:
            return parse_csv(decode(data, decision.charset), limits, decision.format)
        case Format.JSON | Format.JSON_LINES:
            return parse_json(decode(data, decision.charset), limits, decision.format)
        case _:
            return parse_plain(decode(data, decision.charset), limits)


def decoded_page(data: bytes, decision: Decision) -> str:
    """An HTML page's text; its owner's word on the encoding goes before the page's own."""
    return decode(data, decision.charset or declared_charset(data))
