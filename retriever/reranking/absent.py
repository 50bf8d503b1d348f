"""The reranker that was asked for and cannot be had: every retrieval says so, instead of the process not starting."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.budget import Budget
from chassis.errors import BackendUnavailable
from retriever.types import Passage


class AbsentReranker:
    """A Reranker that never is there."""

    fingerprint = "absent"

    async def rerank(self, query: str, passages: Sequence[Passage], *, budget: Budget) -> list[Passage]:  # noqa: ARG002
        raise BackendUnavailable("rerank: the reranking model is not installed")
