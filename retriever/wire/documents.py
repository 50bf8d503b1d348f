"""DocumentService's and CollectionService's messages."""

from __future__ import annotations

import re
from typing import Final

from rag.retriever.v1 import collection_pb2
from rag.retriever.v1 import document_pb2 as pb

from retriever import filters
from retriever.documents import DocumentSource
from retriever.ingest.uploads import Upload
from retriever.reading import CollectionView
from retriever.types import DocumentRecord, Metadata, Outcome, PutResult, Scalar
from retriever.wire import checks
from retriever.wire.checks import Violations
from retriever.wire.values import FIELD_TYPES, from_scalar, to_scalar, to_timestamp

MAX_INLINE_BYTES: Final = 3 << 20  # document.proto: larger ones go through IngestDocuments
MAX_PART_BYTES: Final = 1 << 20
MAX_GROUPS: Final = 256
MAX_GROUP_CHARS: Final = 256
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,128}(\s*;[^\x00-\x1f\x7f]{0,128})?", re.ASCII)
EVERYBODY: Final = ("*",)
OUTCOMES: Final = {outcome: getattr(pb, f"INGEST_OUTCOME_{outcome.value}") for outcome in Outcome}


def to_source(message: pb.DocumentInput, found: Violations) -> DocumentSource:
    """The document with its inline content; what is wrong with it goes to `found`."""
    document_id = checks.document_id(message.document_id, found, "document.document_id")
    if message.content_type and _MEDIA_TYPE.fullmatch(message.content_type) is None:
        found.add("document.content_type", "must be a media type such as application/pdf")
    return DocumentSource(
        document_id=document_id,
        data=message.text.encode() if message.WhichOneof("content") == "text" else message.data,
        title=checks.length(message.title, 512, "document.title", found),
        uri=checks.length(message.uri, 2_048, "document.uri", found),
        source=checks.length(message.source, 256, "document.source", found),
        content_type=_content_type(message),
        metadata=_metadata(message, found),
        groups=_groups(message, found),
    )


def to_whole_source(request: pb.PutDocumentRequest) -> DocumentSource:
    """PutDocument's document. Raises InvalidRequest with every bad field."""
    found = Violations()
    checks.collection(request.collection, found)
    if request.document.has_parts:
        found.add("document.has_parts", "only IngestDocuments takes a document in parts")
    elif request.document.WhichOneof("content") is None:
        found.add("document.content", "one of text and data is required")
    source = to_source(request.document, found)
    found.check()
    return source


def _content_type(message: pb.DocumentInput) -> str:
    if message.content_type or message.WhichOneof("content") != "text":
        return message.content_type
    is_markdown = message.document_id.lower().endswith((".md", ".markdown"))
    return "text/markdown" if is_markdown else "text/plain"


def _metadata(message: pb.DocumentInput, found: Violations) -> Metadata:
    values: dict[str, Scalar] = {}
    for name, value in message.metadata.items():
        try:
            values[name] = to_scalar(value)
        except ValueError as exc:
            found.add(f"document.metadata[{name[:64]}]", str(exc))
    with found.gathering():
        filters.validate_metadata(values)
    return values


def _groups(message: pb.DocumentInput, found: Violations) -> tuple[str, ...]:
    groups = tuple(sorted(set(message.groups)))
    if len(groups) > MAX_GROUPS:
        found.add("document.groups", f"must be at most {MAX_GROUPS} groups")
    if "*" in groups and len(groups) > 1:
        found.add("document.groups", '"*" (everybody) stands alone')
    for group in groups[:MAX_GROUPS]:
        if not 1 <= len(group) <= MAX_GROUP_CHARS or checks.has_control_characters(group):
            found.add("document.groups", f"a group has 1 to {MAX_GROUP_CHARS} characters, no control characters")
            break
    return groups or EVERYBODY


def from_record(record: DocumentRecord, text: str = "") -> pb.Document:
    return pb.Document(
        document_id=record.document_id,
        title=record.title,
        uri=record.uri,
        source=record.source,
        content_type=record.content_type,
        metadata={name: from_scalar(value) for name, value in record.metadata.items()},
        groups=record.groups,
        content_hash=record.content_hash,
        version=record.version,
        chunk_count=record.chunk_count,
        text_chars=record.text_chars,
        size_bytes=record.size_bytes,
        update_time=to_timestamp(record.updated_at),
        text=text,
    )


def from_put(result: PutResult) -> pb.PutDocumentResponse:
    return pb.PutDocumentResponse(
        outcome=OUTCOMES[result.outcome], generation=result.generation, document=from_record(result.record)
    )


def from_ingested(upload: Upload, result: PutResult) -> pb.IngestDocumentsResponse:
    return pb.IngestDocumentsResponse(
        index=upload.index,
        document_id=upload.document_id,
        outcome=OUTCOMES[result.outcome],
        generation=result.generation,
        chunk_count=result.record.chunk_count,
    )


def from_view(view: CollectionView) -> collection_pb2.Collection:
    head = view.head
    return collection_pb2.Collection(
        collection=head.name,
        uid=head.snapshot.uid,
        generation=head.snapshot.generation,
        embedder_fingerprint=head.embedder_fingerprint,
        document_count=view.document_count,
        chunk_count=view.chunk_count,
        fields={name: FIELD_TYPES[kind] for name, kind in head.fields.items()},
        create_time=to_timestamp(head.created_at),
        update_time=to_timestamp(head.updated_at),
    )
