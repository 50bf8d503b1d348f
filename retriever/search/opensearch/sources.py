"""Document versions and chunks as the JSON the indexes keep, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from retriever.filters import type_of
from retriever.types import Chunk, DocumentRecord, FieldType, Metadata, Scalar, born_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Source = dict[str, Any]


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly (floats lose them after 2255)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The moment `to_micros` came from, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def record_source(record: DocumentRecord) -> Source:
    """A record whole, as it is shown; none of it is searched."""
    return {
        "document_id": record.document_id,
        "version": record.version,
        "title": record.title,
        "uri": record.uri,
        "source": record.source,
        "content_type": record.content_type,
        "metadata": _encoded(record.metadata),
        "groups": list(record.groups),
        "content_hash": record.content_hash,
        "chunk_count": record.chunk_count,
        "text_chars": record.text_chars,
        "size_bytes": record.size_bytes,
        "updated_at": to_micros(record.updated_at),
        "source_hash": record.source_hash,
    }


def read_record(source: Source) -> DocumentRecord:
    """What `record_source` was made from."""
    return DocumentRecord(
        **{
            **source,
            "metadata": _decoded(source["metadata"]),
            "groups": tuple(source["groups"]),
            "updated_at": from_micros(source["updated_at"]),
        }
    )


def chunk_source(chunk: Chunk) -> Source:
    """A chunk's searched and shown fields; `heading` is what stands before the text in `embed_text`, else all of it."""
    is_prefix = chunk.embed_text.endswith(chunk.text)
    heading = chunk.embed_text[: len(chunk.embed_text) - len(chunk.text)] if is_prefix else chunk.embed_text
    piece = {
        "section": chunk.section,
        "page": chunk.page,
        "start_char": chunk.start_char,
        "end_char": chunk.end_char,
        "is_prefix": is_prefix,
    }
    return {
        "version": chunk.version,
        "born": born_of(chunk.version),
        "position": chunk.position,
        "heading": heading,
        "text": chunk.text,
        "piece": piece,
    }


def read_chunk(chunk_id: str, source: Source) -> Chunk:
    """What `chunk_source` was made from."""
    piece, heading, text = source["piece"], source["heading"], source["text"]
    return Chunk(
        chunk_id=chunk_id,
        version=source["version"],
        position=source["position"],
        text=text,
        embed_text=heading + text if piece["is_prefix"] else heading,
        section=piece["section"],
        page=piece["page"],
        start_char=piece["start_char"],
        end_char=piece["end_char"],
    )


def _encoded(metadata: Metadata) -> Source:
    return {name: [type_of(value).value, _stored(value)] for name, value in metadata.items()}


def _stored(value: Scalar) -> str | float | bool | int:
    return to_micros(value) if isinstance(value, datetime) else value


def _decoded(stored: Source) -> dict[str, Scalar]:
    return {name: _scalar(FieldType(kind), value) for name, (kind, value) in stored.items()}


def _scalar(kind: FieldType, value: Any) -> Scalar:
    match kind:
        case FieldType.STRING:
            return str(value)
        case FieldType.NUMBER:
            return float(value)
        case FieldType.BOOL:
            return bool(value)
        case FieldType.TIME:
            return from_micros(value)
