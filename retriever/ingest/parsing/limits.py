"""What one document may cost. The values bound memory and time, not taste: real documents stay far below."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds for one document.

    Attributes:
        max_text_chars: Extracted text. A book of 3,000 pages has 6 million characters.
        max_unpacked_bytes: What a docx, pptx or xlsx may hold once unpacked.
        max_expansion: How many times larger than its packed form a part of some size may be: deflate's own limit is
            1,032, real office XML stays below 60.
        max_archive_parts: Files in such a container; a deck of 1,000 slides has 6,000.
        max_depth: Nesting of JSON, groups of shapes and tables.
        wall_s: How long the child may take over one document; a PDF page takes 5 ms, a slide 20.
        cpu_s: The same, counted by the kernel: ends a loop even when the parent is gone.
        memory_bytes: Address space of the child: Python, lxml and pdfium map about 250 MiB before any document.
        documents_per_child: After so many a fresh child takes over, so that leaks of C libraries stay small.
    """

    max_text_chars: int = 8_000_000
    max_unpacked_bytes: int = 256 * MIB
    max_expansion: int = 200
    max_archive_parts: int = 20_000
    max_depth: int = 100
    wall_s: float = 60.0
    cpu_s: int = 60
    memory_bytes: int = 1024 * MIB
    documents_per_child: int = 200


DEFAULT_LIMITS = ParseLimits()
