"""What parent and child say to each other: length, then JSON; a request's file follows its header.

JSON and not pickle: the child reads hostile files, so the parent must be able to read whatever it answers.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from chassis.errors import DocumentEmpty, DocumentEncrypted, DocumentError, DocumentTooLarge, DocumentUnreadable
from retriever.documents import ParsedDocument, TextBlock

LENGTH = struct.Struct(">Q")
# A reply is text and blocks as JSON: 8 million characters at up to 4 bytes, and a block of 40 bytes every few of them.
MAX_REPLY_BYTES = 512 << 20

_ERRORS = {error.reason: error for error in (DocumentEmpty, DocumentEncrypted, DocumentTooLarge, DocumentUnreadable)}


def request(format: str, data: bytes) -> bytes:
    """One document for the child."""
    return b"".join((LENGTH.pack(len(format)), format.encode(), LENGTH.pack(len(data)), data))


def reply(parsed: ParsedDocument) -> bytes:
    blocks = [[block.kind, block.start_char, block.end_char, block.level, block.page] for block in parsed.blocks]
    content = {"text": parsed.text, "title": parsed.title, "type": parsed.content_type, "blocks": blocks}
    return _framed(content)


def failure(error: DocumentError) -> bytes:
    return _framed({"reason": error.reason, "message": error.message, "metadata": error.metadata})


def _framed(content: dict[str, Any]) -> bytes:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return LENGTH.pack(len(body)) + body


def read_reply(body: bytes) -> ParsedDocument:
    """The parsed document. Raises the DocumentError the child named."""
    content = json.loads(body)
    if "reason" in content:
        error = _ERRORS.get(content["reason"], DocumentUnreadable)
        raise error(content["message"], metadata=content["metadata"])
    blocks = tuple(TextBlock(*block) for block in content["blocks"])
    return ParsedDocument(content["text"], blocks, content["title"], content["type"])
