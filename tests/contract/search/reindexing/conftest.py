"""A collection to reindex, on each set of leaves, and who does and tidies it."""

from __future__ import annotations

import pytest

from retriever.ingest.purge import Janitor
from retriever.upkeep.aftermath import Aftermath
from retriever.upkeep.sweep import Sweeper
from tests.contract.search.conftest import ADAPTERS
from tests.contract.search.reindexing.runs import KEEP, NAME, head_of, put, reindexer_over
from tests.contract.search.samples import TENANT, FakeClock, budget
from tests.contract.search.upkeeping import WALL


@pytest.fixture(params=["cluster", "embedded"])
def open_leaves(request):
    """The two sets of leaves as they are used; the mixed ones of the other suites have no adapter that these lack."""
    return ADAPTERS[request.param]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def aftermath(leaves, clock):
    sweeper = Sweeper(leaves.heads, leaves.holdings)
    return Aftermath(leaves.heads, sweeper, clock=clock, now=lambda: WALL + KEEP)


@pytest.fixture
def janitor(leaves, stores, aftermath, clock):
    return Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="me", clock=clock, aftermath=aftermath)


@pytest.fixture
def reindexer(leaves):
    return reindexer_over(leaves)


@pytest.fixture
async def filled(leaves, committer):
    await put(committer, "a", "The first word.\nThe second word.", pages=True, groups=("board",))
    await put(committer, "b", "Another word.", metadata={"year": 2024.0})
    await put(committer, "c", "The last word.")
    await committer.delete(TENANT, NAME, "c", budget=budget())
    return await head_of(leaves)
