"""What is settled about an ask before its first event: the snapshot, the vector, and whether the cache answers it.

Rule 1: a hit needs the entry's snapshot to be the current one, read after the ask began. A write that was acknowledged
        before the ask is therefore never unseen, whatever the cache holds.
Rule 2: the semantic tier needs the cosine and the guard: cosine alone takes "2023" for "2024".
Rule 3: a cache that fails is a miss with CACHE_UNAVAILABLE, and is not asked a second time by the same ask.
Rule 4: when no retriever answers, nothing can be checked. Then an exact entry is served, flagged RETRIEVER_UNAVAILABLE,
        if it was made at the last snapshot this process saw to be current, no longer than five minutes ago: the
        caller gets what was true then and is told so, and the bound is that of the catalogue's own exception. An entry
        of an older snapshot is known to be stale and never served; a similar one neither: two doubts are no answer.
        When only the catalogue is down the cache is left alone: the retriever still reads, and may know of a later
        commit than this process does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chassis.budget import Budget, Clock
from chassis.errors import (
    CacheUnavailable,
    CatalogueUnavailable,
    CollectionNotFound,
    DeadlineExceeded,
    EmbedderUnavailable,
    RagError,
    RetrieverUnavailable,
)
from orchestrator.cache.key import PipelineFingerprint, cache_key, normalised
from orchestrator.ledger import SnapshotLedger
from orchestrator.ports import AnswerCache, Embedder, SnapshotSource
from orchestrator.turns import RETRY_AFTER_S, Turns
from orchestrator.types import (
    CachedAnswer,
    CacheKey,
    CachePolicy,
    CacheResult,
    CacheStatus,
    Degradation,
    DegradedReason,
    Question,
    Snapshot,
)

CANDIDATES = 16  # near questions looked at: some were made at older snapshots, some the guard refuses
CACHE_S = 0.050  # of one look into the cache, and of one store, which holds up the end of an answer
SameQuestion = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """Time for each thing asked before the answer starts, seconds, when two questions are near, and how many asks are
    settled at once: their time begins when their turn comes (see RetrievalLimits)."""

    snapshot_s: float = 0.200
    embed_s: float = 0.200
    cache_s: float = CACHE_S
    similarity: float = 0.90  # the original's CACHE_SIM_THRESHOLD
    at_once: int = 16
    patience_s: float = 0.250  # see Turns


@dataclass(frozen=True, slots=True)
class Hit:
    answer: CachedAnswer
    status: CacheStatus
    similarity: float


@dataclass(slots=True)
class Lookup:
    """What was found, and the milliseconds it took.

    Attributes:
        snapshot: None when the catalogue did not answer: then nothing is looked up, shared or stored.
        vector: None when there is no embedder: the retriever is left to embed.
    """

    status: CacheStatus
    snapshot: Snapshot | None = None
    vector: Sequence[float] | None = None
    hit: Hit | None = None
    degraded: list[Degradation] = field(default_factory=list)
    cache_ms: float = 0.0
    embed_ms: float = 0.0
    snapshot_ms: float = 0.0

    @property
    def is_unchecked(self) -> bool:
        """Answered although the retriever did not answer."""
        return any(lost.reason is DegradedReason.RETRIEVER_UNAVAILABLE for lost in self.degraded)

    def result(self, wall_s: float) -> CacheResult:
        """As the caller is told."""
        if self.hit is None:
            return CacheResult(self.status)
        age_s = max(0.0, wall_s - self.hit.answer.created_at_s)
        return CacheResult(self.hit.status, self.hit.similarity, self.hit.answer.answer_id, age_s)


class AnswerLookup:
    """Settles an ask.

    Args:
        cache: None leaves every ask to be made anew.
        embedder: None: no semantic tier.
        is_same_question: The guard.
        fingerprint: Of the pipeline; part of every key.
    """

    def __init__(
        self,
        *,
        snapshots: SnapshotSource,
        cache: AnswerCache | None,
        embedder: Embedder | None,
        is_same_question: SameQuestion,
        fingerprint: PipelineFingerprint,
        limits: LookupLimits,
        clock: Clock,
    ) -> None:
        self._snapshots = snapshots
        self._cache = cache
        self._embedder = embedder
        self._is_same_question = is_same_question
        self._fingerprint = fingerprint
        self._limits = limits
        self._clock = clock
        self._ledger = SnapshotLedger(clock)
        self._turns = Turns(limits.at_once, limits.patience_s, clock)

    def key_at(self, question: Question, snapshot: Snapshot) -> CacheKey:
        return cache_key(question, snapshot, self._fingerprint)

    async def settle(self, question: Question, *, budget: Budget) -> Lookup:
        """Look once.

        Raises:
            RetrieverUnavailable: it says nothing, and no entry may be served unchecked.
            RagError: what the retriever says of the request itself (CollectionNotFound, PermissionDenied).
        """
        reads = _reads(question) and self._cache is not None
        found = Lookup(CacheStatus.MISS if reads else CacheStatus.SKIPPED)
        async with self._turns.turn() as turn:
            began = self._clock()
            await self._look(question, found, budget, reads=reads)
            turn.got_through = not found.is_unchecked
            found.cache_ms = max(0.0, (self._clock() - began) * 1_000 - found.embed_ms)
        return found

    async def _look(self, question: Question, found: Lookup, budget: Budget, *, reads: bool) -> None:
        """The snapshot and, unless the answer seems to be there already, the vector beside it; then the tiers."""
        known = self._ledger.recent(question) if reads else None
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read_snapshot(question, found, budget))
            guess = await self._exact(question, known, found, budget) if known else None
            embedding = None if guess else group.create_task(self._embed(question, found, budget))
            current = await reading
            if isinstance(current, Snapshot) and reads:
                if guess is None or guess.snapshot != current:
                    guess = await self._exact(question, current, found, budget)
                found.hit = Hit(guess, CacheStatus.HIT_EXACT, 1.0) if guess else None
            if embedding is not None and (found.hit or isinstance(current, RagError)):
                embedding.cancel()
        if isinstance(current, RagError):
            self._without_snapshot(question, current, guess, found)
        if found.hit is None:
            if found.vector is None and (embedding is None or embedding.cancelled()):
                await self._embed(question, found, budget)
            if reads and isinstance(current, Snapshot):
                await self._look_similar(question, current, found, budget)

    async def _read_snapshot(self, question: Question, found: Lookup, budget: Budget) -> Snapshot | RagError:
        began = self._clock()
        try:
            snapshot = await self._snapshots.snapshot(question, budget=budget.within(self._limits.snapshot_s))
        except RagError as error:
            return (
                error if not _is_our_timebox(error, budget) else RetrieverUnavailable("the retriever does not answer")
            )
        finally:
            found.snapshot_ms = (self._clock() - began) * 1_000
        found.snapshot = snapshot
        self._ledger.verified(question, snapshot)
        return snapshot

    def _without_snapshot(self, question: Question, error: RagError, guess: CachedAnswer | None, found: Lookup) -> None:
        match error:
            case CatalogueUnavailable():
                return  # the retriever may still read its last known snapshot, and will say so
            case RetrieverUnavailable() if guess is not None:
                found.hit = Hit(guess, CacheStatus.HIT_EXACT, 1.0)
                found.degraded.append(
                    Degradation(
                        "retrieve",
                        DegradedReason.RETRIEVER_UNAVAILABLE,
                        "Answered from the cache; whether the documents have changed since could not be checked.",
                        found.snapshot_ms,
                    )
                )
                return
            case CollectionNotFound():
                self._ledger.forget(question)
            case RetrieverUnavailable() if error.retry_after_s is None:
                error.retry_after_s = RETRY_AFTER_S
        raise error

    async def _exact(
        self, question: Question, snapshot: Snapshot, found: Lookup, budget: Budget
    ) -> CachedAnswer | None:
        """The entry under the question's key, if it was made at `snapshot`."""
        if self._cache is None or found.degraded:
            return None
        began = self._clock()
        try:
            entry = await self._cache.get(self.key_at(question, snapshot), budget=budget.within(self._limits.cache_s))
        except (CacheUnavailable, DeadlineExceeded):
            self._lost_cache(found, began)
            return None
        return entry if entry is not None and entry.snapshot == snapshot else None

    async def _look_similar(self, question: Question, current: Snapshot, found: Lookup, budget: Budget) -> None:
        if self._cache is None or found.vector is None or found.degraded:
            return
        began = self._clock()
        key = self.key_at(question, current)
        within = budget.within(self._limits.cache_s)
        try:
            candidates = await self._cache.similar(key, found.vector, CANDIDATES, budget=within)
        except (CacheUnavailable, DeadlineExceeded):
            self._lost_cache(found, began)
            return
        text = normalised(question.text)
        for candidate in candidates:
            if candidate.similarity < self._limits.similarity:
                return  # best first
            entry = candidate.answer
            if entry.snapshot == current and self._is_same_question(entry.question_text, text):
                found.hit = Hit(entry, CacheStatus.HIT_SEMANTIC, min(1.0, candidate.similarity))
                return

    async def _embed(self, question: Question, found: Lookup, budget: Budget) -> None:
        if self._embedder is None:
            return
        began = self._clock()
        try:
            rows = await self._embedder.embed([question.text], budget=budget.within(self._limits.embed_s))
        except (EmbedderUnavailable, DeadlineExceeded):
            return  # the retriever embeds, or says that it cannot: EMBEDDER_UNAVAILABLE is its row of the table
        finally:
            found.embed_ms = (self._clock() - began) * 1_000
        found.vector = rows[0]

    def _lost_cache(self, found: Lookup, began: float) -> None:
        found.degraded.append(
            Degradation(
                "cache",
                DegradedReason.CACHE_UNAVAILABLE,
                "Answered afresh: the answer cache did not answer.",
                (self._clock() - began) * 1_000,
            )
        )


def _reads(question: Question) -> bool:
    return question.cache_policy is CachePolicy.DEFAULT and not question.redacted


def _is_our_timebox(error: RagError, budget: Budget) -> bool:
    """Whether a timeout was ours and not the caller's: then the retriever is what failed."""
    return isinstance(error, DeadlineExceeded) and not budget.is_spent
