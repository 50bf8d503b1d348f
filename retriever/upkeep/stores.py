"""A check of the stores as a whole: heads that cannot be read, and what belongs to no head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chassis.budget import Budget
from chassis.errors import RagError
from retriever.upkeep.findings import CATALOGUE, Finding, Kind
from retriever.upkeep.ports import STEP_S, UpkeepStores
from retriever.upkeep.sweep import unnamed

DROPS_A_CALL: Final = 1_000


@dataclass(frozen=True, slots=True)
class StoresReport:
    """See rag.retriever.v1.VerifyStoresResponse."""

    findings: tuple[Finding, ...]


async def verify_stores(stores: UpkeepStores, tenant: str, *, repair: bool, budget: Budget) -> StoresReport:
    """What is wrong with no collection in particular.

    Args:
        tenant: The caller's; collections of others are counted and not named.
        repair: Delete what belongs to nobody.
    """
    unreadable = await stores.survey.unreadable(budget=budget.within(STEP_S))
    if unreadable:  # what such a head names is not known, so nothing is known to be named by none
        names = [name if owner == tenant else "" for owner, name in unreadable]
        return StoresReport(tuple(Finding(Kind.HEAD_UNREADABLE, CATALOGUE, subject=name) for name in names))
    found = await unnamed(stores.survey, stores.holdings, budget=budget)
    if found:  # a uid may have moved from head to head during one listing; not during two (sweep.py, rule 2)
        found &= await unnamed(stores.survey, stores.holdings, budget=budget)
    findings = []
    for at, (store, name) in enumerate(sorted(found)):
        findings.append(
            await _dropped(stores, store, name, budget)
            if repair and at < DROPS_A_CALL
            else Finding(Kind.ORPHANED, store, subject=name)
        )
    return StoresReport(tuple(findings))


async def _dropped(stores: UpkeepStores, store: str, name: str, budget: Budget) -> Finding:
    try:
        await stores.holdings[store].drop_named(name, budget=budget.within(STEP_S))
    except RagError as error:
        return Finding(Kind.ORPHANED, store, obstacle=error.message, subject=name)
    return Finding(Kind.ORPHANED, store, is_repaired=True, subject=name)
