"""The content hash: equal means there is nothing to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from retriever.documents import DocumentSource
from retriever.types import Scalar

SCHEME: Final = b"askmesh-document-2"  # changes when what is hashed does


def content_hash(source: DocumentSource, *, versions: tuple[str, ...], embedder_fingerprint: str) -> str:
    """SHA-256 over everything that decides what is stored of a document, in hex.

    Every part is preceded by its length, so that no two different documents give the same bytes.

    Args:
        source: The document.
        versions: Of the parser and the chunker: a better one makes every document new.
        embedder_fingerprint: Of the collection's embedder; "" for none.
    """
    return derived_hash(source_hash(source), versions=versions, embedder_fingerprint=embedder_fingerprint)


def source_hash(source: DocumentSource) -> str:
    """SHA-256 over the document as its owner sent it, in hex: what a rebuilt collection keeps of it."""
    return _digest(_parts(source))


def derived_hash(source_hash: str, *, versions: tuple[str, ...], embedder_fingerprint: str) -> str:
    """The content hash of what is made of a source, for those who no longer have its bytes."""
    return _digest(text.encode() for text in (source_hash, *versions, embedder_fingerprint))


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256(SCHEME)
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


def _parts(source: DocumentSource) -> Iterator[bytes]:
    yield source.data
    for text in (source.document_id, source.title, source.uri, source.source, source.content_type):
        yield text.encode()
    yield len(source.groups).to_bytes(4, "big")
    for group in sorted(source.groups):
        yield group.encode()
    for name in sorted(source.metadata):
        yield name.encode()
        yield _scalar(source.metadata[name])


def _scalar(value: Scalar) -> bytes:
    """A value with its type in front: the string "1", the number 1 and true are three values."""
    match value:
        case bool():
            return b"b1" if value else b"b0"
        case str():
            return b"s" + value.encode()
        case datetime():
            return b"t" + value.astimezone(UTC).isoformat(timespec="microseconds").encode()
        case _:
            return b"n" + float(value).hex().encode()
