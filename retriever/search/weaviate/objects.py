"""Chunks with their documents to Weaviate's objects, and results back to hits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.struct_pb2 import Struct
from weaviate.proto.v1.v6300.v1 import base_pb2, batch_pb2, search_get_pb2

from embedding.ports import FloatArray
from retriever.filters import type_of
from retriever.search.weaviate.conditions import BORN, FACTS, GROUPS, POSITION, VERSION, group_word
from retriever.search.weaviate.layout import CHUNK, DOCUMENT, MARKER_ID, object_id
from retriever.search.weaviate.terms import fact, from_micros, ordered_properties, to_micros, values_of
from retriever.types import Chunk, DocumentRecord, FieldType, Hit, Scalar, born_of

HIT_PROPERTIES: Final = (CHUNK, DOCUMENT)


@dataclass(frozen=True, slots=True)
class Shard:
    """Where the objects of one collection are: a class, and a tenant in it."""

    name: str
    tenant: str


def batch(
    shard: Shard, rows: Iterable[tuple[DocumentRecord, Chunk]], vectors: FloatArray
) -> list[batch_pb2.BatchObject]:
    """An object for each chunk, with its vector."""
    return [
        _object(shard, record, chunk, vector.astype("<f4").tobytes())
        for (record, chunk), vector in zip(rows, vectors, strict=True)
    ]


def marker(shard: Shard) -> batch_pb2.BatchObject:
    """An object without vector and without properties: no search finds it, no count counts it."""
    return batch_pb2.BatchObject(uuid=MARKER_ID, collection=shard.name, tenant=shard.tenant)


def _object(shard: Shard, record: DocumentRecord, chunk: Chunk, vector: bytes) -> batch_pb2.BatchObject:
    values = values_of(record, chunk)
    plain = Struct()
    plain.update(
        {
            BORN: born_of(chunk.version),
            VERSION: chunk.version,  # exact as a double while transaction numbers are below 2^37
            POSITION: chunk.position,
            CHUNK: _chunk_text(chunk),
            DOCUMENT: _document_text(record),
            **dict(ordered_properties(record, values)),
        }
    )
    facts = [*(fact(name) for name in values), *(fact(name, value) for name, value in values.items())]
    properties = batch_pb2.BatchObject.Properties(
        non_ref_properties=plain,
        text_array_properties=[
            base_pb2.TextArrayProperties(prop_name=GROUPS, values=[group_word(group) for group in record.groups]),
            base_pb2.TextArrayProperties(prop_name=FACTS, values=facts),
        ],
    )
    return batch_pb2.BatchObject(
        uuid=object_id(chunk.chunk_id),
        collection=shard.name,
        tenant=shard.tenant,
        vector_bytes=vector,
        properties=properties,
    )


def hit_of(result: search_get_pb2.SearchResult) -> Hit:
    """The hit a search result holds; its score is the cosine."""
    fields = result.properties.non_ref_props.fields
    chunk = _read_chunk(json.loads(fields[CHUNK].text_value))
    document = _read_document(json.loads(fields[DOCUMENT].text_value))
    return Hit(chunk, document, score=1.0 - result.metadata.distance)


def place_of(result: search_get_pb2.SearchResult) -> tuple[int, int]:
    """Version and position of a result that was asked for them alone."""
    fields = result.properties.non_ref_props.fields
    return fields[VERSION].int_value, fields[POSITION].int_value


def vector_of(result: search_get_pb2.SearchResult) -> FloatArray:
    """The vector of a result that was asked for it."""
    return np.frombuffer(result.metadata.vector_bytes, "<f4")


def chunk_of(result: search_get_pb2.SearchResult) -> Chunk:
    """The chunk a result holds."""
    return _read_chunk(json.loads(result.properties.non_ref_props.fields[CHUNK].text_value))


def _chunk_text(chunk: Chunk) -> str:
    """As JSON; what stands before the text in `embed_text` alone, so that the text is kept once."""
    is_prefix = chunk.embed_text.endswith(chunk.text)
    heading = chunk.embed_text.removesuffix(chunk.text) if is_prefix else chunk.embed_text
    place = [chunk.version, chunk.position, chunk.page, chunk.start_char, chunk.end_char]
    return _json([*place, chunk.section, chunk.text, heading, is_prefix])


def _read_chunk(row: list[Any]) -> Chunk:
    version, position, page, start_char, end_char, section, text, heading, is_prefix = row
    return Chunk(
        chunk_id=f"{version:x}.{position}",
        version=version,
        position=position,
        text=text,
        embed_text=heading + text if is_prefix else heading,
        section=section,
        page=page,
        start_char=start_char,
        end_char=end_char,
    )


def _document_text(record: DocumentRecord) -> str:
    return _json(
        {
            "document_id": record.document_id,
            "version": record.version,
            "title": record.title,
            "uri": record.uri,
            "source": record.source,
            "content_type": record.content_type,
            "metadata": {name: [type_of(value).value, _stored(value)] for name, value in record.metadata.items()},
            "groups": record.groups,
            "content_hash": record.content_hash,
            "chunk_count": record.chunk_count,
            "text_chars": record.text_chars,
            "size_bytes": record.size_bytes,
            "updated_at": to_micros(record.updated_at),
            "source_hash": record.source_hash,
        }
    )


def _read_document(row: dict[str, Any]) -> DocumentRecord:
    row["metadata"] = {name: _scalar(FieldType(kind), value) for name, (kind, value) in row["metadata"].items()}
    row["groups"] = tuple(row["groups"])
    row["updated_at"] = from_micros(row["updated_at"])
    return DocumentRecord(**row)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _stored(value: Scalar) -> str | float | bool | int:
    return value if isinstance(value, (str, float, bool)) else to_micros(value)


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
