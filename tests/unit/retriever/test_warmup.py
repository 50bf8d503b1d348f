"""Starting warms the legs up, and starts whatever becomes of that."""

from __future__ import annotations

import asyncio

import pytest

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from retriever.ingest.snapshots import SnapshotReader
from retriever.pipeline import RetrievalSources
from retriever.warmup import warm_up
from tests.unit.retriever.pipeline_fakes import Bench, make_head


class FakeSurvey:
    def __init__(self, *heads) -> None:
        self._heads = list(heads)

    async def every(self, *, after, limit, budget):
        return self._heads[:limit]


def sources_of(bench):
    snapshots = SnapshotReader(bench.heads, clock=bench.clock)
    return RetrievalSources(snapshots, bench.dense, bench.lexical, bench.embedder)


@pytest.fixture
async def bench():
    return Bench()


async def test_every_collection_is_searched_once_by_both_legs(bench):
    await warm_up(sources_of(bench), FakeSurvey(make_head(), make_head(name="more")), Budget.of(5))
    assert (len(bench.dense.asked), len(bench.lexical.asked)) == (2, 2)


async def test_a_collection_of_another_embedder_is_searched_by_words_only(bench):
    await warm_up(sources_of(bench), FakeSurvey(make_head(embedder_fingerprint="another")), Budget.of(5))
    assert (len(bench.dense.asked), len(bench.lexical.asked)) == (0, 1)


async def test_a_leg_that_is_down_does_not_stop_the_start(bench):
    bench.lexical.failure = SearchUnavailable("down")
    await warm_up(sources_of(bench), FakeSurvey(make_head()), Budget.of(5))
    assert bench.dense.asked == []


async def test_a_leg_that_hangs_holds_the_start_up_no_longer_than_its_budget(bench):
    bench.lexical.ready = asyncio.Event()
    async with asyncio.timeout(5):
        await warm_up(sources_of(bench), FakeSurvey(make_head()), Budget.of(0.01))
    assert bench.lexical.was_cancelled
