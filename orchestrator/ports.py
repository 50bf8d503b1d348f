"""Everything the orchestrator needs from outside. Every adapter passes the acceptance suite of its port.

Failures arrive as chassis.errors (RetrieverUnavailable, CatalogueUnavailable, CacheUnavailable, ModelCold,
ModelOverloaded, ModelUnavailable, EmbedderUnavailable, DeadlineExceeded, or what the retriever said of the request
itself: CollectionNotFound, FilterInvalid, InvalidRequest) and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from chassis.budget import Budget
from embedding.ports import Embedder
from orchestrator.types import (
    CachedAnswer,
    CacheKey,
    Candidate,
    Filling,
    GenerationEvent,
    ModelInfo,
    Prompt,
    Question,
    Retrieval,
    Sampling,
    Snapshot,
)

__all__ = ["AnswerCache", "Embedder", "Generator", "Retriever", "SnapshotFiller", "SnapshotSource", "TokenCounter"]


class SnapshotSource(Protocol):
    async def snapshot(self, question: Question, *, budget: Budget) -> Snapshot:
        """The collection's snapshot as of now: never one that a committed write had passed when the call began.

        Raises CollectionNotFound, CatalogueUnavailable, RetrieverUnavailable, DeadlineExceeded.
        """
        ...


class SnapshotFiller(Protocol):
    async def fill(self, question: Question, token: str, *, budget: Budget) -> Filling:
        """As SnapshotSource.snapshot, and whether the retriever has put it into the mirror under the token."""
        ...


class Retriever(Protocol):
    async def retrieve(
        self, question: Question, vector: Sequence[float] | None, fingerprint: str, *, budget: Budget
    ) -> Retrieval:
        """Numbered passages, best first, markers 1..n. `vector` None lets the retriever embed.

        Raises as SnapshotSource, and SearchUnavailable, FilterInvalid, InvalidRequest.
        """
        ...


class Generator(Protocol):
    @property
    def model(self) -> ModelInfo: ...

    def generate(self, prompt: Prompt, sampling: Sampling, *, budget: Budget) -> AsyncGenerator[GenerationEvent, None]:
        """Text as the engine makes it, then exactly one GenerationEnd.

        An async generator: closing it (aclose, or cancelling the task) stops the engine. Raises ModelCold,
        ModelOverloaded, ModelUnavailable (a stall between tokens included), DeadlineExceeded.
        """
        ...


class TokenCounter(Protocol):
    is_estimate: bool

    def count(self, text: str) -> int: ...


class AnswerCache(Protocol):
    """Stores answers; knows nothing of currency or meaning: the pipeline checks snapshot and guard of what it gets."""

    async def get(self, key: CacheKey, *, budget: Budget) -> CachedAnswer | None:
        """The entry under exactly this key; its vector may be left out."""
        ...

    async def similar(self, key: CacheKey, vector: Sequence[float], limit: int, *, budget: Budget) -> list[Candidate]:
        """Entries of the same partition by cosine, best first."""
        ...

    async def put(self, key: CacheKey, answer: CachedAnswer, *, budget: Budget) -> None:
        """Store over whatever is under the key; bounded in size and time."""
        ...

    async def evict(self, tenant: str, collection: str, answer_id: str, *, budget: Budget) -> bool:
        """Remove the entry of this tenant and collection made as this answer; False when there is none."""
        ...
