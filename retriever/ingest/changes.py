"""What writers ask for, and what a transaction decides about it before it writes anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from chassis.errors import CollectionNotFound, DocumentNotFound, EmbedderUnavailable, MetadataConflict, RagError
from embedding.ports import FloatArray
from retriever.documents import ChunkDraft, TextBlock
from retriever.filters import check_metadata
from retriever.types import Chunk, CollectionHead, DocumentRecord, FieldType, Outcome, PutResult, version_of


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document parsed, chunked and embedded, before it has a version.

    Attributes:
        record: Everything but `version`, `chunk_count` and `updated_at`, which the transaction sets.
        text: The extracted text that offsets count in.
        drafts: Its chunks, in order.
        vectors: One unit vector a draft; None without an embedder.
        embedder_fingerprint: Where the vectors come from; "" without.
        blocks: The text's structure; None: not known.
        is_copy: Made from a version that is stored already, whose time of storing it keeps.
    """

    record: DocumentRecord
    text: str
    drafts: Sequence[ChunkDraft]
    vectors: FloatArray | None
    embedder_fingerprint: str
    blocks: Sequence[TextBlock] | None = None
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """Store this document, in place of the one with its id.

    Attributes:
        over: Of a repair: the version it replaces, equal or not, and nothing but that version.
    """

    document: PreparedDocument
    over: int | None = None

    @property
    def document_id(self) -> str:
        return self.document.record.document_id


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the document with this id."""

    document_id: str


Change = Put | Delete
Result = PutResult | int | RagError
"""Of a put, of a delete (its generation), of either when it is refused."""


@dataclass(slots=True)
class Plan:
    """What becomes of a batch: `settled` by position in it; the rest is to be written or deleted."""

    settled: dict[int, Result] = field(default_factory=dict)
    puts: dict[int, PreparedDocument] = field(default_factory=dict)
    over: dict[str, int] = field(default_factory=dict)
    deletes: dict[int, str] = field(default_factory=dict)

    @property
    def document_ids(self) -> list[str]:
        return [*(document.record.document_id for document in self.puts.values()), *self.deletes.values()]


@dataclass(frozen=True, slots=True)
class Staged:
    """The documents of one transaction under its number."""

    documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]]
    texts: Sequence[str]
    blocks: Sequence[Sequence[TextBlock] | None]
    vectors: FloatArray | None

    @property
    def chunk_count(self) -> int:
        return sum(len(chunks) for _, chunks in self.documents)


def decide(head: CollectionHead, current: Mapping[str, DocumentRecord], changes: Sequence[Change]) -> Plan:
    """Settle what needs no transaction: equal documents, missing ones, metadata and embedders that do not fit.

    Args:
        head: The collection as read now, or as it will be created.
        current: The visible versions of the changes' documents at `head`.
        changes: At most one for each document id.
    """
    plan, fields = Plan(), head.fields
    for at, change in enumerate(changes):
        present = current.get(change.document_id)
        settled = _without_writing(head, present, change)
        if settled is not None:
            plan.settled[at] = settled
        elif isinstance(change, Delete):
            plan.deletes[at] = change.document_id
        else:
            refusal, fields = _admit(head, change.document, fields)
            if refusal is not None:
                plan.settled[at] = refusal
                continue
            plan.puts[at] = change.document
            if change.over is not None:
                plan.over[change.document_id] = change.over
    return plan


def _without_writing(head: CollectionHead, present: DocumentRecord | None, change: Change) -> Result | None:
    """The result of a change that there is nothing to do for; None for every other."""
    if present is None:
        is_bound = isinstance(change, Delete) or change.over is not None
        return missing(head, change.document_id) if is_bound else None
    if isinstance(change, Delete):
        return None
    if change.over is None:
        is_settled = present.content_hash == change.document.record.content_hash
    else:
        is_settled = present.version != change.over  # somebody wrote a newer one: what was to be repaired is gone
    return PutResult(Outcome.UNCHANGED, head.snapshot.generation, present) if is_settled else None


def missing(head: CollectionHead, document_id: str) -> RagError:
    """Why a document cannot be deleted."""
    if head.snapshot.generation == 0:
        return CollectionNotFound(f"there is no collection {head.name!r}", metadata={"collection": head.name})
    return DocumentNotFound(f"there is no document {document_id!r}", metadata={"document": document_id})


def _admit(
    head: CollectionHead, document: PreparedDocument, fields: Mapping[str, FieldType]
) -> tuple[RagError | None, Mapping[str, FieldType]]:
    """Why the document cannot be stored (None: it can), and the collection's fields with its own."""
    if head.embedder_fingerprint and document.embedder_fingerprint != head.embedder_fingerprint:
        message = "the collection was made with another embedder: use that one, or ingest into a new collection"
        return EmbedderUnavailable(message), fields
    try:
        return None, check_metadata(document.record.metadata, fields)
    except MetadataConflict as conflict:
        return conflict, fields


def stage(documents: Sequence[PreparedDocument], number: int, *, has_vectors: bool, now: datetime) -> Staged:
    """Give the documents their versions and their chunks their ids."""
    records, texts = [], []
    for ordinal, document in enumerate(documents):
        version = version_of(number, ordinal)
        chunks = [_chunk(draft, version, at, document.text) for at, draft in enumerate(document.drafts)]
        moment = document.record.updated_at if document.is_copy else now
        record = replace(document.record, version=version, chunk_count=len(chunks), updated_at=moment)
        records.append((record, chunks))
        texts.append(document.text)
    vectors = None
    if has_vectors:
        vectors = np.concatenate([document.vectors for document in documents if document.vectors is not None])
    return Staged(records, texts, [document.blocks for document in documents], vectors)


def _chunk(draft: ChunkDraft, version: int, position: int, text: str) -> Chunk:
    return Chunk(
        chunk_id=f"{version:x}.{position}",
        version=version,
        position=position,
        text=text[draft.start_char : draft.end_char],
        embed_text=draft.embed_text,
        section=draft.section,
        page=draft.page,
        start_char=draft.start_char,
        end_char=draft.end_char,
    )


def all_fields(head: CollectionHead, documents: Sequence[PreparedDocument]) -> Mapping[str, FieldType]:
    """The collection's fields once these documents are in it. Raises MetadataConflict."""
    fields = head.fields
    for document in documents:
        fields = check_metadata(document.record.metadata, fields)
    return fields
