"""Asks every leg once before the first caller does: a store that reads its vectors into memory on first use took 90 to
220 ms for 20,000 chunks, most of a timebox, and the first answer after a start was degraded."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded
from chassis.identity import EVERYBODY
from retriever.fusion import LEG_DEPTH
from retriever.pipeline import RetrievalSources
from retriever.ports import HeadSurvey
from retriever.types import EVERYTHING, CollectionHead, Scope

COLLECTIONS: Final = 100  # more would delay the start of an installation with many, of which few are asked soon
BUDGET_S: Final = 2.0  # a start must not wait longer; what was not warmed is read by its first caller
QUESTION: Final = "What is it?"

_log = logging.getLogger(__name__)


async def warm_up(sources: RetrievalSources, survey: HeadSurvey, budget: Budget) -> None:
    """Search each collection once, within the budget; a failure is no reason not to start.

    Args:
        sources: The legs as they are, without breakers or numbers around them.
        survey: Names the collections.
    """
    try:
        async with asyncio.timeout(budget.remaining_s()):
            for head in await survey.every(after=("", ""), limit=COLLECTIONS, budget=budget):
                await _search(sources, head, budget)
    except (BackendUnavailable, DeadlineExceeded, TimeoutError) as error:
        _log.info("warming up was cut short", extra={"error": type(error).__name__})


async def _search(sources: RetrievalSources, head: CollectionHead, budget: Budget) -> None:
    scope = Scope(head.tenant, head.snapshot, (EVERYBODY,), EVERYTHING, head.fields)
    await sources.lexical.search(QUESTION, scope, LEG_DEPTH, budget=budget)
    embedder = sources.embedder
    if embedder is not None and embedder.fingerprint == head.embedder_fingerprint:
        [vector] = await embedder.embed([QUESTION], budget=budget)
        await sources.dense.search(vector, scope, LEG_DEPTH, budget=budget)
