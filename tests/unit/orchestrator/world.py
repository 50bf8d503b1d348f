"""The orchestrator's surroundings as a test sets them: fakes of its ports, real everything else."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from chassis.budget import Budget
from chassis.errors import CacheUnavailable
from chassis.identity import LOCAL
from orchestrator.answering import AnswerMaker, RetrievalLimits
from orchestrator.cache.guard import is_same_question
from orchestrator.cache.key import PipelineFingerprint
from orchestrator.cache.memory import MemoryAnswerCache
from orchestrator.fold import fold
from orchestrator.generation.extractive import ExtractiveGenerator
from orchestrator.lookup import AnswerLookup, LookupLimits
from orchestrator.pipeline import AskPipeline, Surroundings
from orchestrator.prompt import PromptBuilder
from orchestrator.speaking import Speaker, SpeakingLimits
from orchestrator.tokens import EstimatedTokenCounter
from orchestrator.types import (
    Degradation,
    FinishReason,
    GenerationEnd,
    ModelInfo,
    Question,
    Retrieval,
    Snapshot,
    Source,
    TextPiece,
)
from tests.unit.orchestrator.virtual import now

MODEL = ModelInfo(
    "gemma-test", "gemma-test@1", price_per_million_prompt_tokens=1.0, price_per_million_completion_tokens=2.0
)
TEXT = "The lease lasts 30 seconds. A purger removes dead versions. Readers take the snapshot with every request."
SAID = ("The lease ", "lasts 30 ", "seconds [1]", ".")
SPEAKING = SpeakingLimits(longest_s=30.0, first_token_s=10.0, before_deadline_s=0.4)
SNAPSHOT = Snapshot("uid-1", 7, "retrieval@1", "embedder@1")


def source(marker=1, text=TEXT, document_id="guide.md", start=100):
    return Source(
        marker=marker,
        chunk_id=f"7.{marker}",
        document_id=document_id,
        title="Guide",
        uri="docs/guide.md",
        source="docs",
        section="Leases",
        page=0,
        start_char=start,
        end_char=start + len(text),
        text=text,
        score=0.9,
        dense_rank=1,
        lexical_rank=1,
        dense_score=0.8,
        lexical_score=9.0,
    )


def question(text="How long does the lease last?", **changes):
    return replace(Question(identity=LOCAL, collection="docs", text=text, request_id="r-1"), **changes)


@dataclass
class FakeRetriever:
    """Retriever and SnapshotSource; a delay is virtual seconds, an error is raised after it."""

    snapshot_now: Snapshot = SNAPSHOT
    sources: tuple[Source, ...] = field(default_factory=lambda: (source(),))
    degraded: tuple[Degradation, ...] = ()
    snapshot_error: Exception | None = None
    retrieve_error: Exception | None = None
    snapshot_delay: float = 0.0
    retrieve_delay: float = 0.0
    snapshots: int = 0
    retrievals: list[tuple[object, str]] = field(default_factory=list)

    async def snapshot(self, question, *, budget):
        self.snapshots += 1
        await _takes(self.snapshot_delay, budget)
        if self.snapshot_error is not None:
            raise self.snapshot_error
        return self.snapshot_now

    async def retrieve(self, question, vector, fingerprint, *, budget):
        self.retrievals.append((vector, fingerprint))
        await _takes(self.retrieve_delay, budget)
        if self.retrieve_error is not None:
            raise self.retrieve_error
        return Retrieval(self.sources, self.snapshot_now, self.degraded)


async def _takes(delay, budget):
    if delay > budget.remaining_s():
        await asyncio.sleep(budget.remaining_s())
        budget.check("fake")
    await asyncio.sleep(delay)


@dataclass
class FakeGenerator:
    """Says `pieces`, `gap` virtual seconds before each; raises `error` before piece number `fails_at`."""

    pieces: tuple[str, ...] = SAID
    gap: float = 0.0
    error: Exception | None = None
    fails_at: int = 0
    finish: FinishReason = FinishReason.STOP
    model: ModelInfo = MODEL
    started: int = 0
    said: int = 0
    stopped_early: int = 0

    async def generate(self, prompt, sampling, *, budget):
        self.started += 1
        is_whole = False
        try:
            for position, piece in enumerate(self.pieces):
                await asyncio.sleep(self.gap)
                if self.error is not None and position == self.fails_at:
                    is_whole = True
                    raise self.error
                self.said += 1
                yield TextPiece(piece)
            is_whole = True
            yield GenerationEnd(self.finish, prompt_tokens=100, completion_tokens=10)
        finally:
            self.stopped_early += not is_whole


class FakeEmbedder:
    """A unit vector per text; texts in `near` get the vector of the text they are mapped to, turned by `cosine`."""

    fingerprint = "embedder@1"
    dim = 8

    def __init__(self) -> None:
        self.near: dict[str, tuple[str, float]] = {}
        self.error: Exception | None = None
        self.embedded: list[str] = []

    async def embed(self, texts, *, budget):
        self.embedded += texts
        if self.error is not None:
            raise self.error
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text):
        if text in self.near:
            other, cosine = self.near[text]
            base = _unit(other)
            aside = _unit(other + "'")
            aside -= (aside @ base) * base
            aside /= np.linalg.norm(aside)
            return (cosine * base + np.sqrt(1 - cosine**2) * aside).astype(np.float32)
        return _unit(text)


def _unit(text):
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).normal(size=8).astype(np.float32)
    return vector / np.linalg.norm(vector)


class BrokenCache:
    """An AnswerCache that is down."""

    def __init__(self) -> None:
        self.calls = 0

    def _fail(self):
        self.calls += 1
        raise CacheUnavailable("down")

    async def get(self, key, *, budget):
        self._fail()

    async def similar(self, key, vector, limit, *, budget):
        self._fail()

    async def put(self, key, answer, *, budget):
        self._fail()

    async def evict(self, tenant, collection, answer_id, *, budget):
        self._fail()


class World:
    """A pipeline and everything around it, to be changed before the ask."""

    def __init__(self, *, cache="memory", model=True, relay=None) -> None:
        self.retriever = FakeRetriever()
        self.generator = FakeGenerator()
        self.embedder = FakeEmbedder()
        self.cache = MemoryAnswerCache(ttl_s=600, clock=now) if cache == "memory" else cache
        self.wall = 1_800_000_000.0
        self._ids = count(1)
        self._model = model
        self._relay = relay
        self._pipeline: AskPipeline | None = None

    @property
    def pipeline(self) -> AskPipeline:
        self._pipeline = self._pipeline or self._built()
        return self._pipeline

    def restarted(self, **fingerprint) -> None:
        """The same surroundings with another pipeline: what a new release sees."""
        self._pipeline = self._built(**fingerprint)

    def _built(self, **fingerprint) -> AskPipeline:
        counter = EstimatedTokenCounter()
        fallback = ExtractiveGenerator(None)
        model = self.generator if self._model else fallback
        parts = {"generator": "g", "prompt": "p", "embedder": "e", "guard": "g", "redaction": "r", **fingerprint}
        lookup = AnswerLookup(
            snapshots=self.retriever,
            cache=self.cache,
            embedder=self.embedder,
            is_same_question=is_same_question,
            fingerprint=PipelineFingerprint(**parts),
            limits=LookupLimits(),
            clock=now,
        )
        maker = AnswerMaker(
            retriever=self.retriever,
            embedder=self.embedder,
            speaker=Speaker(model, fallback, limits=SPEAKING, clock=now),
            prompts=PromptBuilder(counter, 8_192),
            counter=counter,
            limits=RetrievalLimits(),
            clock=now,
        )
        around = Surroundings(
            clock=now, wall=lambda: self.wall, new_id=lambda: f"answer-{next(self._ids)}", trace_id=lambda: "t"
        )
        return AskPipeline(
            lookup=lookup,
            maker=maker,
            cache=self.cache,
            counter=counter,
            model=model.model.name,
            surroundings=around,
            relay=self._relay,
        )

    async def events(self, asked=None, *, seconds=30.0):
        asked = asked or question()
        async with aclosing(self.pipeline.ask(asked, budget=Budget.of(seconds, now))) as events:
            return [event async for event in events]

    async def ask(self, asked=None, *, seconds=30.0):
        return fold(await self.events(asked, seconds=seconds))
