"""Files to text with structure: `Parser.parse(source)` gives a ParsedDocument or the DocumentError that fits.

Text formats (md, txt, rst, csv, json) are parsed here, in a thread; html, pdf, docx, pptx and xlsx in a child process
with limits. Each format is one small module; `formats` decides between them.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, DocumentEmpty
from retriever.documents import DocumentSource, ParsedDocument
from retriever.ingest.parsing.formats import ISOLATED, Decision, Format, decide
from retriever.ingest.parsing.limits import DEFAULT_LIMITS, ParseLimits
from retriever.ingest.parsing.texts import decoded_page, parse_text
from retriever.ingest.parsing.worker import ParsingChild

__all__ = ["DEFAULT_LIMITS", "PARSER_VERSION", "ParseLimits", "Parser"]

# Part of every document's content hash: a change of what any parser extracts must change it.
PARSER_VERSION = "3"


class Parser:
    """Parses documents; an async context manager, which ends the child process.

    Args:
        limits: What one document may cost.
    """

    def __init__(self, limits: ParseLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self.child = ParsingChild(limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.child.close()

    async def parse(self, source: DocumentSource, *, budget: Budget) -> ParsedDocument:
        """Extract a document's text and structure.

        Args:
            source: The file; its content type is believed but checked, see `formats`.
            budget: Time left, waiting for the child included.
        Returns:
            Blocks disjoint and in order, text[start:end] exact; never empty.
        Raises:
            DocumentError: the narrowest that fits.
            DeadlineExceeded: the budget ended first.
            BackendUnavailable: the child cannot be started.
        """
        if not source.data.strip():
            raise DocumentEmpty("the document is empty: send its content")
        budget.check("parsing")
        decision = decide(source)
        try:
            async with asyncio.timeout(budget.remaining_s()):
                if decision.format in ISOLATED:
                    data = await asyncio.to_thread(_for_the_child, source.data, decision)
                    return await self.child.parse(decision.format, data, budget=budget)
                return await asyncio.to_thread(parse_text, source.data, decision, self._limits)
        except TimeoutError as exc:
            raise DeadlineExceeded("parsing: the deadline passed: allow more time for a document this large") from exc


def _for_the_child(data: bytes, decision: Decision) -> bytes:
    """The file; a page's text in UTF-8, for only its declaration says how it is encoded."""
    return decoded_page(data, decision).encode() if decision.format is Format.HTML else data
