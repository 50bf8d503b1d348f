"""A store or a committer that stands still until others have given its write up, and then goes on.

What comes late carries a number that is dead for good: it may lie in the stores, and nobody sees it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from chassis.errors import RagError
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.lease import TERM_S
from retriever.ingest.purge import STALE_AFTER_S, Janitor
from retriever.search.opensearch import OpenSearchAddress, open_opensearch
from retriever.types import Outcome
from tests.contract.search.faults import Interposed
from tests.contract.search.samples import (
    TENANT,
    FakeClock,
    budget,
    prepared,
    scope,
    texts_by_id,
    unit,
    vectors_of,
    written,
)
from tests.contract.search.weaviates import dense_in
from tests.faults.clusters import own_cluster

NAME = "handbook"
GIVEN_UP_S = 1.5  # for a write that a stopped store holds up

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory):
    async with own_cluster(tmp_path_factory.mktemp("stores")) as opened:
        yield opened


@dataclass(frozen=True)
class Library:
    """The stores, and what readers see in them."""

    stores: Stores
    dense: Any
    lexical: Any
    leases: Any
    survey: Any

    async def head(self):
        return await self.stores.heads.get(TENANT, NAME, budget=budget())

    async def seen(self, *, is_all=False):
        """Texts by document in both legs, which agree; `is_all`: with those that no snapshot shows."""
        snapshot = (await self.head()).snapshot
        within = scope(replace(snapshot, excluded=(), dead=frozenset()) if is_all else snapshot)
        dense = texts_by_id(await self.dense.search(unit(1.0), within, 100, budget=budget()))
        assert dense == texts_by_id(await self.lexical.search("word", within, 100, budget=budget()))
        return dense

    def janitor(self, owner, clock):
        return Janitor(self.stores, survey=self.survey, leases=self.leases, owner=owner, clock=clock)

    async def written_late(self, number, text):
        """Chunks of a transaction that reach the stores now."""
        documents, uid = [written("a", number, 0, [text])], (await self.head()).snapshot.uid
        for store in (self.stores.dense, self.stores.lexical):
            await store.write(TENANT, uid, documents, vectors_of(documents), budget=budget())
            await store.seal(TENANT, uid, number, budget=budget())


@asynccontextmanager
async def library_in(cluster, name):
    async with (
        open_opensearch(OpenSearchAddress(cluster.opensearch.url, prefix=name)) as store,
        dense_in(cluster.weaviate, name) as dense,
    ):
        stores = Stores(store.heads, store.records, dense, store.lexical)
        yield Library(stores, dense, store.lexical, store.leases, store.heads)


async def aborted_by_another(library):
    """Another process's janitor takes the standing lease over, and aborts what has stood open for too long."""
    clock = FakeClock()
    janitor = library.janitor("another process", clock)
    await janitor.tidy(budget=budget())
    clock.advance(TERM_S)
    await janitor.tidy(budget=budget())  # holds the lease from here on, and watches
    clock.advance(STALE_AFTER_S)
    await janitor.tidy(budget=budget())


@pytest.mark.parametrize("stopped", ["opensearch", "weaviate"])
async def test_what_a_stopped_store_writes_when_it_goes_on_is_never_seen(cluster, stopped):
    server = getattr(cluster, stopped)
    async with library_in(cluster, f"late{stopped}") as library, Committer(library.stores, owner="me") as committer:
        await committer.put(TENANT, NAME, prepared("a", ["word old"]), budget=budget())
        dead = (await library.head()).snapshot.high + 1
        lexical: Any = Interposed(library.stores.lexical)
        lexical.before["write"] = [lambda: _pause(server)]  # the number is taken: the commit is under way
        async with Committer(replace(library.stores, lexical=lexical), owner="me too") as struck:
            with pytest.raises(RagError):
                await struck.put(TENANT, NAME, prepared("a", ["word late"]), budget=budget(GIVEN_UP_S))
            server.resume()
        await aborted_by_another(library)
        assert (await library.head()).open_numbers == {}
        await library.written_late(dead, "word late")
        assert await library.seen() == {"a": {"word old"}}
        assert await library.seen(is_all=True) == {"a": {"word old", "word late"}}
        await committer.put(TENANT, NAME, prepared("a", ["word new"]), budget=budget())
        assert await library.seen() == {"a": {"word new"}}


async def _pause(server):
    server.pause()


async def test_a_committer_that_stood_still_past_its_lease_commits_nothing_under_its_old_number(cluster):
    async with library_in(cluster, "latecommitter") as library:
        heads: Any = Interposed(library.stores.heads)
        stores = replace(library.stores, heads=heads)
        own = replace(library, stores=stores).janitor("this process", FakeClock())
        await own.tidy(budget=budget())  # it holds the lease
        async with Committer(stores, owner="this process") as committer:
            await committer.put(TENANT, NAME, prepared("a", ["word old"]), budget=budget())
            dead = (await library.head()).snapshot.high + 1

            async def stand_still():
                await aborted_by_another(library)
                async with Committer(library.stores, owner="another process") as other:
                    await other.put(TENANT, NAME, prepared("b", ["word other"]), budget=budget())

            heads.before["swap"] = [_go_on, stand_still]  # the first takes the number, the second would commit
            result = await committer.put(TENANT, NAME, prepared("a", ["word new"]), budget=budget())
        head = await library.head()
        assert result.outcome is Outcome.STORED
        assert any(first <= dead <= last for first, last in head.snapshot.excluded)
        assert await library.seen() == {"a": {"word new"}, "b": {"word other"}}
        assert "word new" in (await library.seen(is_all=True))["a"]
        await own.tidy(budget=budget())  # without the lease it touches nothing
        assert await library.head() == head


async def _go_on():
    pass
