"""Decides how a query becomes passages. No wire, no store.

Rule 1: everything that can run at once does: the snapshot is read beside the embedding, the lexical leg does not wait
        for the vector, the two legs run side by side.
Rule 2: the timebox bounds all of it. What is late is cancelled, left out and reported; the caller still gets an answer.
Rule 3: what a store returns is not believed: every hit is checked again against snapshot, groups and filter, before it
        can shift the score of another.
Rule 4: a dense leg that finds nothing where words find something has lost its vectors, and is reported like one that
        does not answer: every chunk in scope has a distance.
Rule 5: vectors of different fingerprints never meet: the caller's vector is used only if it comes from this embedder,
        and the dense leg is asked only if the collection was made with it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from chassis.budget import Budget
from chassis.errors import (
    DeadlineExceeded,
    GenerationNotReached,
    InvalidRequest,
    SearchUnavailable,
)
from chassis.identity import Identity
from embedding.ports import Embedder, FloatArray
from retriever import filters
from retriever.fusion import FUSION_FINGERPRINT, LEG_DEPTH, fuse
from retriever.ingest.chunking import CHUNKER_VERSION
from retriever.ingest.snapshots import SnapshotReader
from retriever.ports import DenseLeg, LexicalLeg, Reranker
from retriever.report import Report
from retriever.run import LOST, Run, beside, leg
from retriever.types import (
    CollectionHead,
    DegradedReason,
    Hit,
    Legs,
    Passage,
    QueryVector,
    Retrieval,
    RetrievalQuery,
    Scope,
)

SERVER_CAP_S: Final = 5.0  # retriever.proto: the server stops itself after 5 s whatever the caller allows
TIMEBOX_S: Final = 0.250  # the original's RETRIEVAL_TIMEOUT_MS: what a person does not notice in an answer
CATALOGUE_SHARE: Final = 0.8  # of the timebox: a stall is no outage, but a hung catalogue must leave the legs some time
RETRY_AFTER_S: Final = 1.0  # both legs gone: a breaker probes again within that time
MIN_RERANK_S: Final = 0.020  # less than that and a cross-encoder would be cut off anyway
RERANK_DEPTH: Final = 30  # 300 candidates took 30 s in the field
UNIT_NORM_TOLERANCE: Final = 1e-2  # float32 and a round trip lose 1e-6; a vector that was never normalised is far off


@dataclass(frozen=True, slots=True)
class RetrievalSources:
    """Everything a retrieval reads from. No embedder: lexical only. No reranker: the fused order stands."""

    snapshots: SnapshotReader
    dense: DenseLeg
    lexical: LexicalLeg
    embedder: Embedder | None = None
    reranker: Reranker | None = None


class RetrievalPipeline:
    """The retriever's one decision-maker.

    Args:
        sources: What it reads from.
        timebox_s: Time for everything from the snapshot to the reranker; the caller's budget may be shorter.
        rerank_depth: Passages of the fused order that the reranker judges.
    """

    def __init__(
        self, sources: RetrievalSources, *, timebox_s: float = TIMEBOX_S, rerank_depth: int = RERANK_DEPTH
    ) -> None:
        self._sources = sources
        self._timebox_s = min(timebox_s, SERVER_CAP_S)
        self._rerank_depth = rerank_depth if sources.reranker else 0
        reranker = sources.reranker.fingerprint if sources.reranker else ""
        parts = (FUSION_FINGERPRINT, str(LEG_DEPTH), CHUNKER_VERSION, reranker, str(self._rerank_depth))
        self._fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Of everything but the documents and the embedder that decides what `retrieve` returns."""
        return self._fingerprint

    async def retrieve(self, identity: Identity, query: RetrievalQuery, budget: Budget) -> Retrieval:
        """The best passages of a collection that the caller may read, best first.

        Args:
            identity: Tenant and groups; nothing in the query can widen them.
            query: Validated in itself; its filter is checked against the collection here.
            budget: The caller's; the timebox is taken from it.
        Raises:
            CollectionNotFound, FilterInvalid, InvalidRequest: the request.
            GenerationNotReached: `min_generation` lies ahead.
            CatalogueUnavailable: and no snapshot of the last five minutes is known.
            SearchUnavailable: no leg that was asked for answered.
            DeadlineExceeded: the caller's time ran out before one did.
        """
        run = Run(query, Report(budget.clock), budget.less().within(self._timebox_s))
        run.timebox.check("retrieve")
        own = self._own_vector(query)
        with run.report.timed("total"):
            async with beside(self._vector(run, own)) as vector:
                head = await self._read(identity, run)
                scope = _scope(identity, query, head)
                dense, lexical = await self._search(run, scope, head.embedder_fingerprint, vector)
            if dense is None and lexical is None:
                raise _nothing_answered(budget)
            found = [_checked(hits or (), scope) for hits in (dense, lexical)]
            if dense == [] and found[1]:  # vectors are near or far, never no match: here they are lost
                run.report.drop("dense", DegradedReason.DENSE_UNAVAILABLE)
            with run.report.timed("fuse"):
                fused = fuse(found[0], found[1], max(query.top_k, self._rerank_depth))
            passages = await self._reranked(run, fused)
        return Retrieval(
            passages=tuple(passages[: query.top_k]),
            snapshot=scope.snapshot,
            embedder_fingerprint=head.embedder_fingerprint,
            degraded=run.report.degraded,
            timings_ms=run.report.timings_ms,
            rejected_hits=len(dense or ()) + len(lexical or ()) - sum(map(len, found)),
        )

    def _own_vector(self, query: RetrievalQuery) -> FloatArray | None:
        """The caller's vector when it is one of this embedder's; any other is not looked at."""
        embedder = self._sources.embedder
        if embedder is None or query.vector is None or query.vector.fingerprint != embedder.fingerprint:
            return None
        return _usable(query.vector, embedder.dim)

    async def _vector(self, run: Run, own: FloatArray | None) -> FloatArray | None:
        """The query's vector, the caller's if there is one; None (reported) when there is none in time."""
        embedder = self._sources.embedder
        if own is not None or embedder is None or run.query.legs is Legs.LEXICAL:
            return own
        try:
            with run.report.timed("embed"):
                async with asyncio.timeout(run.timebox.remaining_s()):
                    rows = await embedder.embed([run.query.text], budget=run.timebox)
        except LOST:
            run.report.drop("embed", DegradedReason.EMBEDDER_UNAVAILABLE)
            return None
        row: FloatArray = rows[0]
        return row

    async def _read(self, identity: Identity, run: Run) -> CollectionHead:
        """The head every leg reads at; the last known one (reported) while the catalogue is down."""
        share = run.timebox.within(run.timebox.remaining_s() * CATALOGUE_SHARE)
        with run.report.timed("snapshot"):
            reading = await self._sources.snapshots.head(identity.tenant, run.query.collection, budget=share)
        if reading.is_stale:
            run.report.drop("catalogue", DegradedReason.CATALOGUE_UNAVAILABLE)
        reached = reading.head.snapshot.generation
        if run.query.min_generation > reached:
            raise GenerationNotReached(
                "the collection has not reached min_generation: use a generation a write returned, or try again",
                metadata={"generation": str(reached)},
            )
        return reading.head

    async def _search(
        self, run: Run, scope: Scope, fingerprint: str, vector: asyncio.Task[FloatArray | None]
    ) -> tuple[list[Hit] | None, list[Hit] | None]:
        """Both legs at once; None for one that was not asked for, failed or was late."""
        async with asyncio.TaskGroup() as group:
            dense = group.create_task(self._dense(run, scope, fingerprint, vector))
            lexical = group.create_task(self._lexical(run, scope))
        return dense.result(), lexical.result()

    async def _dense(
        self, run: Run, scope: Scope, fingerprint: str, vector: asyncio.Task[FloatArray | None]
    ) -> list[Hit] | None:
        if run.query.legs is Legs.LEXICAL:
            return None
        embedder = self._sources.embedder
        if fingerprint != (embedder.fingerprint if embedder else ""):
            run.report.drop("embed", DegradedReason.EMBEDDER_UNAVAILABLE)
            return None
        row = await vector  # None also where neither collection nor process has an embedder: nothing is missing
        if row is None:
            return None
        search = self._sources.dense.search(row, scope, run.depth, budget=run.timebox)
        return await leg(run, "dense", DegradedReason.DENSE_UNAVAILABLE, search)

    async def _lexical(self, run: Run, scope: Scope) -> list[Hit] | None:
        if run.query.legs is Legs.DENSE:
            return None
        search = self._sources.lexical.search(run.query.text, scope, run.depth, budget=run.timebox)
        return await leg(run, "lexical", DegradedReason.LEXICAL_UNAVAILABLE, search)

    async def _reranked(self, run: Run, passages: list[Passage]) -> list[Passage]:
        """The passages in the reranker's order, if there is one and time is left for it."""
        reranker = self._sources.reranker
        if reranker is None or not passages:
            return passages
        first, rest = passages[: self._rerank_depth], passages[self._rerank_depth :]
        try:
            with run.report.timed("rerank"):
                run.timebox.less(MIN_RERANK_S).check("rerank")
                async with asyncio.timeout(run.timebox.remaining_s()):
                    return [*await reranker.rerank(run.query.text, first, budget=run.timebox), *rest]
        except LOST:
            run.report.drop("rerank", DegradedReason.RERANK_SKIPPED)
            return passages


def _usable(vector: QueryVector, dim: int) -> FloatArray:
    """The caller's vector as the dense leg takes it. Raises InvalidRequest unless it is one of this embedder's."""
    row = np.asarray(vector.values, np.float32)
    if row.shape != (dim,):
        raise InvalidRequest.field("embedding.values", f"this embedder's vectors have {dim} values, not {row.size}")
    norm = float(np.linalg.norm(row))
    if not abs(norm - 1.0) <= UNIT_NORM_TOLERANCE:  # so written, NaN is refused too
        raise InvalidRequest.field("embedding.values", "must be a finite vector of length 1")
    return row


def _scope(identity: Identity, query: RetrievalQuery, head: CollectionHead) -> Scope:
    filters.validate(query.filter, head.fields)
    return Scope(identity.tenant, head.snapshot, identity.readable_groups, query.filter, head.fields)


def _checked(hits: Sequence[Hit], scope: Scope) -> list[Hit]:
    """The hits the caller may see, by this process's own judgement."""
    groups = frozenset(scope.groups)
    return [
        hit
        for hit in hits
        if hit.chunk.version == hit.document.version
        and scope.snapshot.sees(hit.chunk.version)
        and not groups.isdisjoint(hit.document.groups)
        and filters.matches(scope.filter, hit.document, hit.chunk.section, hit.chunk.page)
    ]


def _nothing_answered(budget: Budget) -> DeadlineExceeded | SearchUnavailable:
    if budget.less().is_spent:
        return DeadlineExceeded("retrieve: the deadline passed before a search answered: allow more time")
    return SearchUnavailable("no search answered in time: try again", retry_after_s=RETRY_AFTER_S)
