"""Documents made again from what the catalogue holds of them: text, structure, record. Their source is long gone.

Rule 1: where the text's structure is known it is cut anew by this version's chunker; elsewhere the chunks stay as they
        were cut, and only their vectors are made anew.
Rule 2: what its owner said of a document (id, metadata, groups, title, times) stays as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from chassis.budget import Budget
from chassis.errors import EmbedderUnavailable
from embedding.ports import Embedder, FloatArray, TokenSpans
from retriever.documents import ChunkDraft, ParsedDocument
from retriever.ingest.changes import PreparedDocument
from retriever.ingest.chunking import CHUNKER_VERSION, chunk
from retriever.ingest.documents import EMBED_BATCH, VERSIONS
from retriever.ingest.hashing import derived_hash
from retriever.ingest.parsing import PARSER_VERSION
from retriever.types import DocumentRecord
from retriever.upkeep.ports import ChunkAudit, UpkeepRecords

# Every chunker there ever was: a content hash made with one of them says that this parser read the document.
CHUNKER_VERSIONS: Final = (CHUNKER_VERSION,)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What documents are made with.

    Attributes:
        fingerprint: The embedder's; "" for lexical only.
        embedder: None where none is here, or none is needed.
        tokens: Measures chunks; None estimates.
    """

    fingerprint: str
    embedder: Embedder | None
    tokens: TokenSpans | None

    @property
    def name(self) -> str:
        """Equal for equal results."""
        return " ".join((self.fingerprint, *VERSIONS))


class StoredDocuments:
    """The documents of one collection uid, to be made again."""

    def __init__(self, records: UpkeepRecords, chunks: Sequence[ChunkAudit], *, tenant: str, uid: str) -> None:
        """Args:
        chunks: The stores to ask for chunks that are not cut anew, the likeliest first.
        """
        self._records = records
        self._chunks = chunks
        self._tenant = tenant
        self._uid = uid

    async def again(
        self, record: DocumentRecord, recipe: Recipe, *, budget: Budget, stored_as: DocumentRecord | None = None
    ) -> PreparedDocument:
        """The document as this version would store it.

        Args:
            record: Which one.
            recipe: What it is made with.
            budget: For reading and embedding.
            stored_as: The record it gets; None: its own.
        Raises:
            DocumentNotFound: its text is not there.  EmbedderUnavailable: the recipe's embedder is not.
        """
        text = await self._records.text(self._tenant, self._uid, record.version, budget=budget)
        blocks = await self._records.blocks(self._tenant, self._uid, record.version, budget=budget)
        if blocks is None:
            drafts = await self._as_cut(record, text, recipe, budget)
        else:
            parsed = ParsedDocument(text, blocks, title="", content_type=record.content_type)
            drafts = await asyncio.to_thread(chunk, parsed, title=real_title(record), tokens=recipe.tokens)
        vectors = await _embedded([draft.embed_text for draft in drafts], recipe, budget)
        fingerprint = recipe.fingerprint
        return PreparedDocument(stored_as or record, text, drafts, vectors, fingerprint, blocks=blocks, is_copy=True)

    async def _as_cut(self, record: DocumentRecord, text: str, recipe: Recipe, budget: Budget) -> list[ChunkDraft]:
        for store in self._chunks:
            chunks = await store.chunks(self._tenant, self._uid, record.version, budget=budget)
            if [each.position for each in chunks] == list(range(record.chunk_count)):
                return [ChunkDraft(c.start_char, c.end_char, c.section, c.page, c.embed_text) for c in chunks]
        parsed = ParsedDocument(text, (), title="", content_type=record.content_type)
        return await asyncio.to_thread(chunk, parsed, title=real_title(record), tokens=recipe.tokens)


def rebuilt(record: DocumentRecord, fingerprint: str, recipe: Recipe) -> DocumentRecord:
    """The record of a document in a collection made by another recipe: the next equal ingest finds it unchanged, where
    this version's parser had read it; else it is read anew."""
    origin = record.source_hash
    known = {
        derived_hash(origin, versions=(PARSER_VERSION, version), embedder_fingerprint=fingerprint)
        for version in CHUNKER_VERSIONS
    }
    if origin and record.content_hash in known:
        digest = derived_hash(origin, versions=VERSIONS, embedder_fingerprint=recipe.fingerprint)
    else:
        digest = hashlib.sha256(f"rebuilt {recipe.name} {record.content_hash}".encode()).hexdigest()
    return replace(record, content_hash=digest, source_hash=record.identity)


def real_title(record: DocumentRecord) -> str:
    """The title as its owner or the document gave it; a file's name is none."""
    return "" if record.title == PurePosixPath(record.document_id).name else record.title


async def _embedded(texts: Sequence[str], recipe: Recipe, budget: Budget) -> FloatArray | None:
    if not recipe.fingerprint:
        return None
    if recipe.embedder is None:
        raise EmbedderUnavailable(
            "the collection's embedder is not here: run this on a retriever that has it",
            metadata={"embedder": recipe.fingerprint},
        )
    rows = [
        await recipe.embedder.embed(texts[first : first + EMBED_BATCH], budget=budget)
        for first in range(0, len(texts), EMBED_BATCH)
    ]
    return np.concatenate(rows)
