"""Snapshots from the mirror in Redis, which the retrievers keep; from the retriever where the mirror has none.

Whoever finds the mirror empty may hold its token and hands it to the retriever with the question; the retriever fills.
So the mirror is used exactly where the retriever that was asked keeps it, in the same Redis and under the same secret:
an orchestrator that is switched on alone finds nothing there, goes on asking, and says so.

Decorates a retriever's SnapshotSource and SnapshotFiller.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from rag.retriever.v1 import retriever_pb2 as pb

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded
from chassis.mirror import Mirror, MirrorUnavailable, mirror_name
from chassis.telemetry import Telemetry
from orchestrator.metrics import MIRROR
from orchestrator.ports import SnapshotFiller, SnapshotSource
from orchestrator.retrieval.grpc import snapshot_from_wire
from orchestrator.types import Question, Snapshot

# A token is taken back by every write, so one refusal says nothing; so many in a row mean that nobody fills.
REFUSED_IN_A_ROW: Final = 10

_log = logging.getLogger(__name__)


class _Source(SnapshotSource, SnapshotFiller, Protocol):
    """One object that is both."""


class MirroredSnapshots:
    """See above.

    Args:
        mirror: Its store is behind a breaker.
    """

    def __init__(self, source: _Source, mirror: Mirror, telemetry: Telemetry) -> None:
        telemetry.declare(MIRROR)
        self._source = source
        self._mirror = mirror
        self._telemetry = telemetry
        self._refused = 0

    async def snapshot(self, question: Question, *, budget: Budget) -> Snapshot:
        name = mirror_name(question.identity.tenant, question.collection)
        try:
            found = await self._mirror.read(name)
        except MirrorUnavailable:
            self._count("unavailable")
            return await self._source.snapshot(question, budget=budget)
        if found.value is not None:
            self._count("hit")
            return snapshot_from_wire(pb.Snapshot.FromString(found.value))
        if not found.token:
            self._count("asked")
            return await self._source.snapshot(question, budget=budget)
        try:
            filling = await self._source.fill(question, found.token, budget=budget)
        except (BackendUnavailable, DeadlineExceeded):
            await self._mirror.hand_back(name)  # else everybody asks the retriever until the token's end, 2 s
            raise
        self._count("filled" if filling.is_mirrored else "refused")
        self._tell_of_refusals(is_refused=not filling.is_mirrored)
        return filling.snapshot

    def _count(self, outcome: str) -> None:
        self._telemetry.counter(MIRROR).labels(outcome).inc()

    def _tell_of_refusals(self, *, is_refused: bool) -> None:
        self._refused = self._refused + 1 if is_refused else 0
        if self._refused == REFUSED_IN_A_ROW:
            _log.warning(
                "the retrievers do not fill the snapshot mirror, so it is of no use: give them mirror=redis with the "
                "Redis and the secret of this orchestrator, or set mirror=off here"
            )
