"""Documents, vectors and scopes small enough to read, for every suite about the stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from chassis.budget import Budget
from embedding.ports import FloatArray
from retriever.documents import ChunkDraft
from retriever.ingest.commit import PreparedDocument
from retriever.types import EVERYTHING, Chunk, DocumentRecord, Filter, Metadata, Scope, Snapshot, version_of

DIM = 8
TENANT = "acme"
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
Written = tuple[DocumentRecord, Sequence[Chunk]]


def budget(seconds: float = 30.0) -> Budget:
    return Budget.of(seconds)


def unit(*values: float) -> FloatArray:
    """A unit vector that begins with these values."""
    vector = np.zeros(DIM, np.float32)
    vector[: len(values)] = values
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def random_unit(seed: int, count: int) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def record(document_id: str, version: int = 0, **changes: object) -> DocumentRecord:
    values: dict[str, object] = {
        "title": "",
        "uri": "",
        "source": "",
        "content_type": "text/plain",
        "metadata": {},
        "groups": ("*",),
        "content_hash": f"hash of {document_id}",
        "chunk_count": 1,
        "text_chars": 10,
        "size_bytes": 10,
        "updated_at": WHEN,
    }
    return DocumentRecord(document_id=document_id, version=version, **{**values, **changes})  # type: ignore[arg-type]


def chunk(version: int, position: int, text: str, **changes: object) -> Chunk:
    values: dict[str, object] = {"embed_text": text, "section": "", "page": 0, "start_char": 0, "end_char": len(text)}
    return Chunk(f"{version:x}.{position}", version, position, text, **{**values, **changes})  # type: ignore[arg-type]


def written(document_id: str, number: int, ordinal: int, texts: Sequence[str], **changes: object) -> Written:
    """One document under transaction `number`, a chunk for each text."""
    version = version_of(number, ordinal)
    chunks = [chunk(version, at, text) for at, text in enumerate(texts)]
    return record(document_id, version, chunk_count=len(chunks), **changes), chunks


def scope(
    snapshot: Snapshot,
    *,
    tenant: str = TENANT,
    groups: tuple[str, ...] = ("*",),
    filter: Filter = EVERYTHING,
) -> Scope:
    return Scope(tenant=tenant, snapshot=snapshot, groups=groups, filter=filter)


def prepared(
    document_id: str,
    texts: Sequence[str],
    *,
    metadata: Metadata | None = None,
    groups: tuple[str, ...] = ("*",),
    fingerprint: str = "embedder/1",
    seed: int = 0,
) -> PreparedDocument:
    """A document as the ingest hands it over; its hash covers texts, metadata and groups."""
    drafts, at = [], 0
    for text in texts:
        drafts.append(ChunkDraft(at, at + len(text), section="", page=0, embed_text=text))
        at += len(text) + 1
    content_hash = f"{list(texts)} {sorted((metadata or {}).items())} {groups}"
    return PreparedDocument(
        record=record(document_id, metadata=metadata or {}, groups=groups, content_hash=content_hash),
        text="\n".join(texts),
        drafts=drafts,
        vectors=random_unit(seed, len(drafts)) if fingerprint else None,
        embedder_fingerprint=fingerprint,
    )


def vectors_of(documents: Sequence[Written], seed: int = 0) -> FloatArray:
    return random_unit(seed, len(list(chain.from_iterable(chunks for _, chunks in documents))))


class FakeClock:
    """Monotonic seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.when_asleep: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds

    async def sleep(self, seconds: float) -> None:
        """Time passes at once, for this sleeper and for all."""
        self.advance(seconds)
        self.when_asleep()


def by_id(hits: Sequence[object]) -> list[str]:
    """Document ids of hits, in their order."""
    return [hit.document.document_id for hit in hits]  # type: ignore[attr-defined]


def texts_of(hits: Sequence[object]) -> list[str]:
    return [hit.chunk.text for hit in hits]  # type: ignore[attr-defined]


def texts_by_id(hits: Sequence[object]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for hit in hits:
        found.setdefault(hit.document.document_id, set()).add(hit.chunk.text)  # type: ignore[attr-defined]
    return found
