"""Upkeep over a set of leaves, with an embedder that a test can read."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import numpy as np

from chassis.errors import RagError
from retriever.documents import ParsedDocument, TextBlock
from retriever.ingest.changes import PreparedDocument
from retriever.ingest.chunking import chunk
from retriever.ingest.hashing import derived_hash
from retriever.ingest.parsing import PARSER_VERSION
from retriever.types import DocumentRecord
from retriever.upkeep.findings import Progress
from retriever.upkeep.ports import UpkeepStores
from retriever.upkeep.stored import Recipe
from tests.contract.search.samples import DIM, record

FIRST, SECOND = "embedder/1", "embedder/2"
WALL = datetime(2026, 3, 1, tzinfo=UTC)


class HashEmbedder:
    """Vectors that follow from fingerprint and text."""

    dim = DIM

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.texts: list[str] = []

    async def embed(self, texts, *, budget):
        self.texts += texts
        seeds = [hashlib.sha256(f"{self.fingerprint} {text}".encode()).digest()[:8] for text in texts]
        rows = [np.random.default_rng(int.from_bytes(seed)).standard_normal(DIM) for seed in seeds]
        vectors = np.array(rows, np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


EMBEDDERS = {FIRST: HashEmbedder(FIRST), SECOND: HashEmbedder(SECOND)}


def recipe(fingerprint: str = FIRST) -> Recipe:
    return Recipe(fingerprint, EMBEDDERS.get(fingerprint), None)


def upkeep_stores(leaves: Any) -> UpkeepStores:
    return UpkeepStores(
        heads=leaves.heads,
        survey=leaves.heads,
        records=leaves.records,
        leases=leaves.leases,
        lexical=leaves.lexical,
        dense_for=leaves.dense_for,
        holdings=leaves.holdings,
    )


async def document(
    document_id: str, text: str, *, fingerprint: str = FIRST, pages: bool = False, **changes: Any
) -> PreparedDocument:
    """A document as the writer prepares it: cut by the real chunker; a line is a paragraph and, with pages, a page."""
    blocks, at = [], 0
    for page, line in enumerate(text.split("\n"), 1):
        blocks.append(TextBlock("paragraph", at, at + len(line), page=page if pages else 0))
        at += len(line) + 1
    drafts = chunk(ParsedDocument(text, tuple(blocks), "", "text/plain"), title="", tokens=None)
    origin = hashlib.sha256(f"{document_id} {text} {sorted(changes.items())}".encode()).hexdigest()
    digest = derived_hash(origin, versions=(PARSER_VERSION, "1"), embedder_fingerprint=fingerprint)
    embedder = EMBEDDERS.get(fingerprint)
    vectors = await embedder.embed([each.embed_text for each in drafts], budget=None) if embedder else None
    kept: DocumentRecord = record(
        document_id, title=document_id, content_hash=digest, source_hash=origin, text_chars=len(text), **changes
    )
    return PreparedDocument(kept, text, drafts, vectors, fingerprint, blocks=tuple(blocks))


async def last_of(events: Any) -> Any:
    """What a long call ends with; everything before is progress."""
    found = None
    async for event in events:
        assert found is None or isinstance(found, Progress)
        found = event
    assert not isinstance(found, Progress)
    return found


def reasons(findings: Any) -> list[tuple[str, str, str, int]]:
    return sorted((each.kind.value, each.store, each.document_id, each.count) for each in findings)


__all__ = ["FIRST", "SECOND", "WALL", "RagError", "document", "last_of", "reasons", "recipe", "upkeep_stores"]
