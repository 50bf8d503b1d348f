"""Everything the retriever needs from outside. Every adapter passes the acceptance suite of its port.

The engines' failures arrive here as chassis.errors (SearchUnavailable, CatalogueUnavailable, EmbedderUnavailable,
StorageFull, Conflict, DeadlineExceeded) and nothing else. Every call takes the budget it must end in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from chassis.budget import Budget
from embedding.ports import Embedder, FloatArray
from retriever.documents import TextBlock
from retriever.types import Chunk, CollectionHead, DocumentRecord, Filter, Hit, Lease, Passage, Scope, Snapshot

__all__ = [
    "MAX_READ_CHUNKS",
    "ChunkReader",
    "ChunkStore",
    "CollectionHeads",
    "DenseLeg",
    "DocumentRecords",
    "Embedder",
    "HeadSurvey",
    "Leases",
    "LexicalLeg",
    "RecordSurvey",
    "Reranker",
]


class DenseLeg(Protocol):
    async def search(self, vector: FloatArray, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        """The `limit` chunks in scope nearest to `vector` (float32, shape (dim,), unit norm), best first, by cosine."""
        ...


class LexicalLeg(Protocol):
    async def search(self, text: str, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        """The `limit` chunks in scope that match words of `text` best, by BM25. `text` is never query syntax."""
        ...


class ChunkStore(Protocol):
    """The write side of one store (dense or lexical). Nothing written is visible before the head's compare-and-swap."""

    async def write(
        self,
        tenant: str,
        uid: str,
        documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]],
        vectors: FloatArray | None,
        *,
        budget: Budget,
    ) -> None:
        """Store the chunks of one transaction; `vectors` has a row per chunk in order (None: lexical only)."""
        ...

    async def seal(self, tenant: str, uid: str, number: int, *, budget: Budget) -> int:
        """Make all of transaction `number` searchable and durable; returns how many of its chunks there are."""
        ...

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> int:
        """Delete a bounded number of chunks of these versions; returns how many remain (0 = done). A `range` stands for
        every version an aborted transaction may have written."""
        ...

    async def drop(self, tenant: str, uid: str, *, budget: Budget) -> None:
        """Delete everything of a collection uid; idempotent."""
        ...


class ChunkReader(Protocol):
    """What a store holds of chunks, to copy it: no search, no snapshot, no group."""

    async def read(
        self, tenant: str, uid: str, versions: Sequence[int], positions: range, *, budget: Budget
    ) -> tuple[list[Chunk], FloatArray | None]:
        """The chunks of these versions at these positions, by version and position, each with its row of vectors (None
        from a store of words). At most MAX_READ_CHUNKS: the caller knows how many there are."""
        ...


MAX_READ_CHUNKS: Final = 1_000  # of one ChunkReader.read: half a megabyte of text and 1.5 MB of vectors


class CollectionHeads(Protocol):
    """The catalogue's heads: the single source of visibility."""

    async def get(self, tenant: str, name: str, *, budget: Budget) -> CollectionHead | None:
        """The head as of now (a realtime read); None when there is no such collection."""
        ...

    async def swap(self, head: CollectionHead, *, budget: Budget) -> CollectionHead:
        """Store `head` if the stored revision is still head.revision (0 = must not exist); returns it with its new
        revision. Raises Conflict when another writer was faster."""
        ...

    async def list(self, tenant: str, *, after: str, limit: int, budget: Budget) -> list[CollectionHead]:
        """Heads by name, only those greater than `after`, and none of generation 0: nothing was committed to it."""
        ...

    async def remove(self, head: CollectionHead, *, budget: Budget) -> None:
        """Remove the head if its revision still stands, else Conflict."""
        ...


class HeadSurvey(Protocol):
    """What the janitor needs besides: every tenant's heads, also those nothing was committed to."""

    async def every(self, *, after: tuple[str, str], limit: int, budget: Budget) -> list[CollectionHead]:
        """Heads by (tenant, name), those greater than `after` only; those that cannot be read are left out."""
        ...


class Leases(Protocol):
    """Rights that one process holds at a time."""

    async def get(self, name: str, *, budget: Budget) -> Lease | None:
        """The lease as of now (a realtime read); None when nobody ever held it."""
        ...

    async def swap(self, lease: Lease, *, budget: Budget) -> Lease:
        """As CollectionHeads.swap. Raises Conflict when another process was faster."""
        ...


class DocumentRecords(Protocol):
    """The catalogue's document versions and their texts; visible by snapshot, like chunks."""

    async def put(
        self,
        tenant: str,
        uid: str,
        records: Sequence[tuple[DocumentRecord, str]],
        *,
        budget: Budget,
        blocks: Sequence[Sequence[TextBlock] | None] = (),
    ) -> None:
        """Store versions with their extracted texts and, where it is known, each text's structure."""
        ...

    async def visible(
        self, tenant: str, snapshot: Snapshot, document_ids: Sequence[str], *, budget: Budget
    ) -> Mapping[str, DocumentRecord]:
        """The visible version of each of these ids, whatever its groups; ids without one are left out."""
        ...

    async def page(self, scope: Scope, *, after: str, limit: int, budget: Budget) -> tuple[list[DocumentRecord], int]:
        """Records in scope by id, those greater than `after`, and how many are in scope in all."""
        ...

    async def count(self, scope: Scope, *, budget: Budget) -> tuple[int, int]:
        """How many documents are in scope, and how many chunks they have."""
        ...

    async def text(self, tenant: str, uid: str, version: int, *, budget: Budget) -> str:
        """The extracted text of one version. Raises DocumentNotFound."""
        ...

    async def purge(self, tenant: str, uid: str, versions: Sequence[int], *, budget: Budget) -> None:
        """Delete these versions' records and texts (a `range`: as in ChunkStore.purge); an empty sequence deletes the
        whole uid."""
        ...


class RecordSurvey(Protocol):
    """What a copy needs of the catalogue besides: documents whatever their groups."""

    async def all(
        self, tenant: str, snapshot: Snapshot, *, after: str, limit: int, budget: Budget
    ) -> tuple[list[DocumentRecord], int]:
        """Visible records by id, those greater than `after`, and how many are visible in all."""
        ...


class Reranker(Protocol):
    @property
    def fingerprint(self) -> str:
        """Names the model: another one gives other answers, and cached ones are kept under it."""
        ...

    async def rerank(self, query: str, passages: Sequence[Passage], *, budget: Budget) -> list[Passage]:
        """The same passages (at least one) by how well they answer `query`, best first, `rerank` filled in.

        All or nothing: a judgement of some of them orders none. Raises DeadlineExceeded or BackendUnavailable.
        """
        ...


class FilterOracle(Protocol):
    """What a filter means; retriever.filters.matches is the one implementation, every store must agree with it."""

    def __call__(self, filter: Filter, record: DocumentRecord, section: str, page: int) -> bool: ...
