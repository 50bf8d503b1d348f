"""Changes to a head that hold whatever else changes it: swapped in, again after every lost race."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chassis.budget import Budget
from chassis.errors import Conflict
from retriever.ports import CollectionHeads
from retriever.types import CollectionHead

PLACE: Final = "change of a collection's head"


async def change_head(
    heads: CollectionHeads,
    head: CollectionHead,
    change: Callable[[CollectionHead], CollectionHead | None],
    *,
    budget: Budget,
) -> CollectionHead | None:
    """Apply `change` to the head as it is now.

    Args:
        head: Names the collection and its uid.
        change: Pure; None for nothing to be done.
    Returns:
        The head as stored; None when the collection is gone or replaced, or there was nothing to do.
    """
    while True:
        now = await heads.get(head.tenant, head.name, budget=budget)
        if now is None or now.snapshot.uid != head.snapshot.uid:
            return None
        wanted = change(now)
        if wanted is None:
            return None
        try:
            return await heads.swap(wanted, budget=budget)
        except Conflict:
            budget.check(PLACE)
