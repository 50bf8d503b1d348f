"""Removes what the stores hold of collections that no head names any more.

Such things are left by a process that died between dropping a head and its data, by a writer that was stopped and wrote
to a collection dropped meanwhile, and by builds that were given up.

Rule 1: what is held is listed before the heads are: a head is stored before the first chunk, so whatever was held and
        has no head afterwards has lost it.
Rule 2: heads are listed in pages, and a uid may move from one to another in between (a reindex puts its build in
        place). It moves once, so what two listings in a row do not name belongs to nobody.
Rule 3: a round is bounded; what it leaves is found again, and what cannot be removed keeps nothing else from it.
Rule 4: where no head is left at all, a catalogue was lost more likely than every collection dropped: nothing is swept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded
from retriever.ports import HeadSurvey
from retriever.types import CollectionHead
from retriever.upkeep.ports import HeadAudit, Holdings

logger = logging.getLogger(__name__)

PAGE: Final = 500  # heads read at a time: a refresh and a search each, 20 ms of 500 as of 100
DROPS_A_ROUND: Final = 32  # each is an index or a shard that goes: a store does some ten a second
DROP_S: Final = 5.0  # one that hangs leaves time for others in the same round; a large one goes in several
Unnamed = set[tuple[str, str]]
"""Store and name."""


class Sweeper:
    """Sweeps in rounds; whoever calls it holds the janitor's lease, or does what may be done twice."""

    def __init__(self, survey: HeadAudit, holdings: Mapping[str, Holdings]) -> None:
        self._survey = survey
        self._holdings = holdings
        self._seen: Unnamed = set()  # by the round before

    async def sweep(self, *, budget: Budget) -> int:
        """One round; returns how much was removed.

        Raises:
            BackendUnavailable, DeadlineExceeded: the first of what failed, once all had their turn.
        """
        found = await unnamed(self._survey, self._holdings, budget=budget)
        doomed = sorted(found & self._seen)[:DROPS_A_ROUND]
        self._seen = found
        if doomed and not await self._survey.every(after=("", ""), limit=1, budget=budget):
            logger.warning("nothing is swept while there is no collection at all: the catalogue may have been lost")
            return 0
        failed = [exc for each in doomed if (exc := await self._dropped(*each, budget=budget)) is not None]
        if len(failed) < len(doomed):
            logger.info("removed what no collection names", extra={"count": len(doomed) - len(failed)})
        if failed:
            raise failed[0]
        return len(doomed)

    async def _dropped(self, store: str, name: str, *, budget: Budget) -> BackendUnavailable | DeadlineExceeded | None:
        """Why it could not be dropped; None: it was."""
        try:
            await self._holdings[store].drop_named(name, budget=budget.within(DROP_S))
        except (BackendUnavailable, DeadlineExceeded) as exc:
            return exc
        self._seen.discard((store, name))
        return None


async def sweep_alone(survey: HeadAudit, holdings: Holdings, *, budget: Budget) -> None:
    """Remove all of it at once; for a process that is alone with its stores, where nothing moves."""
    for _, name in await unnamed(survey, {"": holdings}, budget=budget):
        await holdings.drop_named(name, budget=budget)


async def unnamed(survey: HeadAudit, holdings: Mapping[str, Holdings], *, budget: Budget) -> Unnamed:
    """What one listing finds; see rule 2 before removing any of it."""
    held = {(store, name) for store, each in holdings.items() for name in await each.names(budget=budget)}
    if not held:
        return held
    for head in await every_head(survey, budget=budget):
        held -= {(store, each.name_of(head.tenant, uid)) for store, each in holdings.items() for uid in head.uids}
    if held and await survey.unreadable(budget=budget):
        logger.warning("nothing is swept while a head cannot be read: what it names is not known")
        return set()
    return held


async def every_head(survey: HeadSurvey, *, budget: Budget) -> list[CollectionHead]:
    """All heads of all tenants, builds included."""
    heads: list[CollectionHead] = []
    after = ("", "")
    while page := await survey.every(after=after, limit=PAGE, budget=budget):
        heads += page
        after = (page[-1].tenant, page[-1].name)
    return heads
