"""The process that opens html, pdf and office files: `python -m retriever.ingest.parsing.child`, fed through a pipe.

Rule 1: it bounds itself before it reads a byte: address space, processor time per document, no files, no core.
Rule 2: it has no environment, no network use and no secrets; what a hostile file can gain is this process.
Rule 3: an error nobody foresaw ends the process. The parent calls that document unreadable and starts another.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import BinaryIO

from chassis.errors import DocumentError, DocumentTooLarge
from retriever.documents import ParsedDocument
from retriever.ingest.parsing import frames
from retriever.ingest.parsing.container import check_container
from retriever.ingest.parsing.formats import Format
from retriever.ingest.parsing.limits import ParseLimits


def main() -> None:
    memory_bytes, cpu_s, max_text_chars = (int(value) for value in sys.argv[1:4])
    limits = ParseLimits(memory_bytes=memory_bytes, cpu_s=cpu_s, max_text_chars=max_text_chars)
    _bound(resource.RLIMIT_AS, limits.memory_bytes)
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_FSIZE, 0)  # pipes are no files: answers still go out
    # The pipe for answers is taken away from print and from C libraries' chatter.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    while (name := _read(requests)) is not None:
        data = _read(requests)
        if data is None:
            return
        _bound(resource.RLIMIT_CPU, int(time.process_time()) + limits.cpu_s)
        answers.write(_answer(Format(name.decode()), data, limits))
        answers.flush()


def _bound(what: int, soft: int) -> None:
    """Lower the soft limit; the processor's is raised again for the next document, so the hard one stays."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _read(requests: BinaryIO) -> bytes | None:
    head = requests.read(frames.LENGTH.size)
    if len(head) < frames.LENGTH.size:
        return None
    (length,) = frames.LENGTH.unpack(head)
    return requests.read(length)


def _answer(format: Format, data: bytes, limits: ParseLimits) -> bytes:
    try:
        return frames.reply(_parsed(format, data, limits))
    except DocumentError as error:
        return frames.failure(error)
    except (MemoryError, RecursionError):
        return frames.failure(DocumentTooLarge("the document needs too much memory to be read: split it"))


def _parsed(format: Format, data: bytes, limits: ParseLimits) -> ParsedDocument:
    # Imported on first use: each library costs 0.1 to 0.3 s and 20 to 60 MiB, and most corpora hold one format.
    if format is Format.PDF:
        from retriever.ingest.parsing.pdf import parse_pdf  # noqa: PLC0415

        return parse_pdf(data, limits)
    if format is Format.HTML:
        from retriever.ingest.parsing.html import parse_html  # noqa: PLC0415

        return parse_html(data.decode(), limits)
    check_container(data, limits)
    if format is Format.DOCX:
        from retriever.ingest.parsing.word import parse_docx  # noqa: PLC0415

        return parse_docx(data, limits)
    if format is Format.PPTX:
        from retriever.ingest.parsing.slides import parse_pptx  # noqa: PLC0415

        return parse_pptx(data, limits)
    from retriever.ingest.parsing.sheets import parse_xlsx  # noqa: PLC0415

    return parse_xlsx(data, limits)


if __name__ == "__main__":
    main()
