"""The archive of a collection: JSON lines, written and read piece by piece. No I/O here.

    {"askmesh_archive": 1, "collection": .., "generation": .., "embedder_fingerprint": .., "dim": .., "fields": {..},
     "document_count": .., "created_at": ..}
    and of each document:
    {"document": {"document_id": .., "metadata": {..}, "groups": [..], "content_hash": .., ..}}
    {"text": ".."}     as often as it takes
    {"blocks": [["heading", start_char, end_char, level, page], ..]}     likewise; absent where that is not known
    {"chunks": [{"start_char": .., "end_char": .., "page": .., "section": .., "heading": ..}, ..], "vectors": "base64"}
    and at last:
    {"end": {"document_count": .., "chunk_count": .., "sha256": "of all bytes before this line"}}

Rule 1: documents come by id, ascending: a second one of the same id is found without remembering any.
Rule 2: a chunk has no text of its own: it is text[start_char:end_char] of its document.
Rule 3: whoever reads an archive believes nothing of it: every length, offset, count, order and vector is checked, and
        the end must be there, with the digest of what came before.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from embedding.ports import FloatArray
from retriever.documents import TextBlock
from retriever.filters import type_of
from retriever.types import Chunk, DocumentRecord, FieldType, Metadata, Scalar

FORMAT_VERSION: Final = 1
TEXT_CHARS: Final = 256 << 10  # of one line; as JSON at most 6 times as many bytes
LINE_CHUNKS: Final = 128  # of one line: 256 KiB of vectors
LINE_BLOCKS: Final = 8_192  # of one line: 400 KiB
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """What an archive says of its collection.

    Attributes:
        generation: At which it was exported.
        embedder_fingerprint: Whose vectors it holds; "" for none.
        dim: Their length; 0 without.
    """

    collection: str
    generation: int
    embedder_fingerprint: str
    dim: int
    fields: Mapping[str, FieldType]
    document_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ArchivedDocument:
    """One document with all that is stored of it; versions in it are 0."""

    record: DocumentRecord
    text: str
    chunks: Sequence[Chunk]
    vectors: FloatArray | None
    blocks: Sequence[TextBlock] | None = None


class ArchiveWriter:
    """Makes an archive's lines, and its digest with them."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._documents = 0
        self._chunks = 0

    def header(self, header: ArchiveHeader) -> bytes:
        row = {
            "askmesh_archive": FORMAT_VERSION,
            "collection": header.collection,
            "generation": header.generation,
            "embedder_fingerprint": header.embedder_fingerprint,
            "dim": header.dim,
            "fields": {name: kind.value for name, kind in header.fields.items()},
            "document_count": header.document_count,
            "created_at": to_micros(header.created_at),
        }
        return self._line(row)

    def document(self, document: ArchivedDocument) -> Iterator[bytes]:
        """The lines of one document."""
        self._documents += 1
        self._chunks += len(document.chunks)
        yield self._line({"document": _record_row(document.record)})
        for start in range(0, len(document.text), TEXT_CHARS):
            yield self._line({"text": document.text[start : start + TEXT_CHARS]})
        if document.blocks is not None:
            rows = [_block_row(block) for block in document.blocks]
            for start in range(0, max(1, len(rows)), LINE_BLOCKS):  # a known structure of nothing is one line too
                yield self._line({"blocks": rows[start : start + LINE_BLOCKS]})
        for start in range(0, len(document.chunks), LINE_CHUNKS):
            part = slice(start, start + LINE_CHUNKS)
            row: dict[str, Any] = {"chunks": [_chunk_row(chunk) for chunk in document.chunks[part]]}
            if document.vectors is not None:
                row["vectors"] = base64.b64encode(document.vectors[part].astype("<f4").tobytes()).decode()
            yield self._line(row)

    def end(self) -> bytes:
        """The last line; without it an archive is none."""
        sums = {"document_count": self._documents, "chunk_count": self._chunks, "sha256": self._digest.hexdigest()}
        return self._line({"end": sums})

    def _line(self, row: Mapping[str, Any]) -> bytes:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        self._digest.update(line)
        return line


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The moment `to_micros` came from."""
    return _EPOCH + timedelta(microseconds=micros)


def scalar_of(kind: FieldType, value: Any) -> Scalar:
    """A metadata value as it was. Raises ValueError or TypeError for what is none of its kind."""
    match kind:
        case FieldType.STRING if isinstance(value, str):
            return value
        case FieldType.NUMBER if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case FieldType.BOOL if isinstance(value, bool):
            return value
        case FieldType.TIME if isinstance(value, int):
            return from_micros(value)
        case _:
            raise ValueError(kind)


def vectors_of(text: str, count: int, dim: int) -> FloatArray:
    """The vectors of a line. Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    vectors: FloatArray = np.frombuffer(raw, "<f4").astype(np.float32).reshape(count, dim)
    return vectors


def _record_row(record: DocumentRecord) -> dict[str, Any]:
    return {
        "document_id": record.document_id,
        "title": record.title,
        "uri": record.uri,
        "source": record.source,
        "content_type": record.content_type,
        "metadata": _metadata_row(record.metadata),
        "groups": list(record.groups),
        "content_hash": record.content_hash,
        "source_hash": record.source_hash,
        "chunk_count": record.chunk_count,
        "text_chars": record.text_chars,
        "size_bytes": record.size_bytes,
        "updated_at": to_micros(record.updated_at),
    }


def _metadata_row(metadata: Metadata) -> dict[str, Any]:
    return {
        name: [type_of(value).value, to_micros(value) if isinstance(value, datetime) else value]
        for name, value in metadata.items()
    }


def _block_row(block: TextBlock) -> list[str | int]:
    return [block.kind, block.start_char, block.end_char, block.level, block.page]


def _chunk_row(chunk: Chunk) -> dict[str, Any]:
    is_prefix = chunk.embed_text.endswith(chunk.text)
    heading = chunk.embed_text[: len(chunk.embed_text) - len(chunk.text)] if is_prefix else chunk.embed_text
    return {
        "start_char": chunk.start_char,
        "end_char": chunk.end_char,
        "page": chunk.page,
        "section": chunk.section,
        "heading": heading,  # what stands before the text in what was embedded; all of that where is_whole
        **({} if is_prefix else {"is_whole": True}),
    }
