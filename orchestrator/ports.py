"""Everything the orchestrator needs from outside. Every adapter passes the acceptance suite of its port.

Failures arrive as chassis.errors (RetrieverUnavailable, CatalogueUnavailable, CacheUnavailable, ModelCold,
ModelOverloaded, ModelUnavailable, EmbedderUnavailable, DeadlineExceeded, or what the retriever said of the request
itself: CollectionNotFound, FilterInvalid, InvalidRequest) and, between replicas, BoardUnavailable; nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from chassis.budget import Budget
from embedding.ports import Embedder
from orchestrator.board import Chunk, Heard, Over
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

__all__ = [
    "AnswerCache",
    "Embedder",
    "FlightBoard",
    "Generator",
    "Retriever",
    "SnapshotFiller",
    "SnapshotSource",
    "TokenCounter",
]


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


class FlightBoard(Protocol):
    """Where replicas tell one another of the answers they are making. Every method raises BoardUnavailable.

    A flight is named by what makes two asks the same, and held by whoever claimed it, under a token of its own; a claim
    dies unless its holder beats. What a holder tells are chunks of bytes, in order.
    """

    async def claim(self, flight: str, token: str) -> str:
        """The token of who holds the flight now: `token` itself when nobody did."""
        ...

    async def beat(self, flight: str, token: str, chunk: Chunk | None, *, over: Over = Over.NOT) -> float | None:
        """Keep the claim, tell `chunk`, or tell it again when it is not known to have been heard.

        Returns:
            For how many seconds somebody wants to hear on, 0 when nobody listens; None: the claim is lost.
        """
        ...

    async def hear(self, flight: str, token: str, position: int, *, wanted_s: float) -> Heard:
        """What the holder told from chunk number `position` on; and that it is wanted for `wanted_s` more."""
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
