"""Leaves of the retrieval pipeline that do what a test says, and a clock that only a test moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable
from chassis.identity import Identity
from retriever.ingest.snapshots import SnapshotReader
from retriever.pipeline import RetrievalPipeline, RetrievalSources
from retriever.types import (
    Chunk,
    CollectionHead,
    DocumentRecord,
    FieldType,
    Hit,
    LegScore,
    RetrievalQuery,
    Snapshot,
    version_of,
)

FINGERPRINT = "fake/4"
DIM = 4
READER = Identity("acme", groups=frozenset({"staff"}), roles=frozenset({"ask"}))
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeHeads:
    """One collection; `failure` is raised instead of answering."""

    def __init__(self, head: CollectionHead) -> None:
        self.head = head
        self.failure: Exception | None = None

    async def get(self, tenant, name, *, budget):
        if self.failure is not None:
            raise self.failure
        return self.head if (tenant, name) == (self.head.tenant, self.head.name) else None

    async def list(self, tenant, *, after, limit, budget):
        return [self.head] if tenant == self.head.tenant and after < self.head.name else []

    async def swap(self, head, *, budget):
        raise AssertionError("a retrieval writes nothing")

    async def remove(self, head, *, budget):
        raise AssertionError("a retrieval writes nothing")


class FakeEmbedder:
    """Gives one vector for everything, when `ready` is set."""

    def __init__(self, *, fingerprint: str = FINGERPRINT, failure: Exception | None = None) -> None:
        self.fingerprint = fingerprint
        self.dim = DIM
        self.failure = failure
        self.ready = asyncio.Event()
        self.ready.set()
        self.embedded: list[str] = []

    async def embed(self, texts, *, budget):
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        self.embedded += texts
        return np.tile(unit_vector(), (len(texts), 1))


class FakeLeg:
    """Returns `hits`, or raises `failure`, once `ready` is set; remembers what it was asked and how it ended."""

    def __init__(self, hits=(), *, failure: Exception | None = None) -> None:
        self.hits = list(hits)
        self.failure = failure
        self.ready = asyncio.Event()
        self.ready.set()
        self.begun = asyncio.Event()
        self.asked: list[object] = []
        self.scopes: list[object] = []
        self.budgets: list[Budget] = []
        self.was_cancelled = False

    async def search(self, asked, scope, limit, *, budget):
        self.asked.append(asked)
        self.scopes.append(scope)
        self.budgets.append(budget)
        self.begun.set()
        try:
            await self.ready.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.failure is not None:
            raise self.failure
        return self.hits[:limit]


class FakeReranker:
    """Turns the order round."""

    def __init__(self, *, fingerprint: str = "reverse", failure: Exception | None = None) -> None:
        self.fingerprint = fingerprint
        self.failure = failure
        self.ready = asyncio.Event()
        self.ready.set()
        self.calls = 0

    async def rerank(self, query, passages, *, budget):
        self.calls += 1
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        turned = list(reversed(passages))
        return [replace(passage, rerank=LegScore(rank, -rank)) for rank, passage in enumerate(turned, 1)]


class Bench:
    """A pipeline over fakes: two legs, one collection of generation 7, one embedder."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.heads = FakeHeads(make_head())
        self.dense = FakeLeg([make_hit("a", score=0.9), make_hit("b", score=0.8)])
        self.lexical = FakeLeg([make_hit("b", score=11.0), make_hit("c", score=7.0)])
        self.embedder: FakeEmbedder | None = FakeEmbedder()
        self.reranker: FakeReranker | None = None
        self.timebox_s = 0.25
        self._snapshots: SnapshotReader | None = None

    def pipeline(self) -> RetrievalPipeline:
        if self._snapshots is None:
            self._snapshots = SnapshotReader(self.heads, clock=self.clock)
        sources = RetrievalSources(
            snapshots=self._snapshots,
            dense=self.dense,
            lexical=self.lexical,
            embedder=self.embedder,
            reranker=self.reranker,
        )
        return RetrievalPipeline(sources, timebox_s=self.timebox_s)

    async def retrieve(self, *, identity: Identity = READER, budget_s: float = 5.0, **query):
        asked = RetrievalQuery(**{"collection": "docs", "text": "what is it?", **query})
        return await self.pipeline().retrieve(identity, asked, Budget.of(budget_s, self.clock))

    def lose_catalogue(self) -> None:
        self.heads.failure = CatalogueUnavailable("the catalogue is down")


def make_head(**changes) -> CollectionHead:
    values = {
        "tenant": "acme",
        "name": "docs",
        "snapshot": Snapshot("uid-1", generation=7, high=9, excluded=((5, 6),), dead=frozenset({version_of(2, 0)})),
        "embedder_fingerprint": FINGERPRINT,
        "fields": {"year": FieldType.NUMBER},
        "open_numbers": {},
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "revision": 3,
    }
    return CollectionHead(**{**values, **changes})


def make_hit(document_id: str, *, score: float = 1.0, number: int = 1, position: int = 0, **record) -> Hit:
    """A hit of its own document, which everybody of the tenant may read."""
    version = version_of(number, sum(document_id.encode()) % 1_000 if number == 1 else 0)
    values = {
        "document_id": document_id,
        "version": version,
        "title": document_id.upper(),
        "uri": "",
        "source": "",
        "content_type": "text/plain",
        "metadata": {"year": 2026.0},
        "groups": ("*",),
        "content_hash": document_id,
        "chunk_count": 1,
        "text_chars": 10,
        "size_bytes": 10,
        "updated_at": MOMENT,
    }
    document = DocumentRecord(**{**values, **record})
    text = f"text of {document_id}"
    chunk = Chunk(f"{version:x}.{position}", version, position, text, text, "", 0, 0, len(text))
    return Hit(chunk, document, score)


def unit_vector() -> np.ndarray:
    return np.array([1.0, 0.0, 0.0, 0.0], np.float32)
