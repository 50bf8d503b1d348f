"""What callers see of an OpenSearch that is killed, paused, full, refusing, of another version, or half reachable."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from askmesh.rig.opensearch import running_opensearch
from chassis.budget import Budget
from chassis.errors import CatalogueUnavailable, Conflict, DeadlineExceeded, SearchUnavailable, StorageFull
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.ledger import new_head
from retriever.ingest.snapshots import SnapshotReader
from retriever.search.opensearch import (
    OpenSearchAddress,
    OpenSearchLexicalIndex,
    connected,
    open_opensearch,
    opened,
)
from retriever.search.opensearch.layout import VERSIONS
from retriever.types import Outcome, Snapshot, version_of
from retriever.upkeep.sweep import Sweeper
from tests.contract.search.clusters import OPENSEARCH, open_with_opensearch
from tests.contract.search.faults import Interposed
from tests.contract.search.samples import TENANT, WHEN, budget, by_id, prepared, scope, texts_by_id, written
from tests.rig_servers import rigged

UID = "uid-1"
NAME = "handbook"
ONE_COMMIT = Snapshot(UID, generation=1, high=1)
SOON_S = 2.0  # a refused connection is an answer: far below the budget even on a busy machine


@pytest.fixture
async def address(tmp_path):
    async with OPENSEARCH.installation(tmp_path) as address:
        yield address


@pytest.fixture
async def server(address):
    """The node itself; it runs again for whoever comes next."""
    node = OPENSEARCH.node
    yield node
    node.resume()
    if not node.is_running:
        await node.start()


@pytest.fixture
async def store(address):
    async with open_opensearch(address) as opened:
        yield opened


@pytest.fixture
async def filled(store):
    """One sealed document and the head of its collection."""
    await store.lexical.write(TENANT, UID, [written("a", 1, 0, ["word"])], None, budget=budget())
    await store.lexical.seal(TENANT, UID, 1, budget=budget())
    await store.heads.swap(head(), budget=budget())
    return store


def head():
    return new_head(TENANT, NAME, uid=UID, embedder_fingerprint="", now=WHEN)


def find(store, limit_s=30.0):
    return store.lexical.search("word", scope(ONE_COMMIT), 5, budget=Budget.of(limit_s))


def configure(server, path, body):
    """A setting or mapping changed behind the adapter's back."""
    request = urllib.request.Request(
        f"{server.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=10).close()


def settings_of(server, pattern):
    with urllib.request.urlopen(f"{server.url}/{pattern}/_settings", timeout=10) as answer:
        return [body["settings"]["index"] for body in json.load(answer).values()]


def delete(server, index):
    request = urllib.request.Request(f"{server.url}/{index}", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()


async def test_a_killed_node_is_unavailable_at_once_and_back_with_everything(filled, server):
    server.kill()
    start = time.monotonic()
    with pytest.raises(SearchUnavailable):
        await find(filled)
    with pytest.raises(CatalogueUnavailable):
        await filled.heads.get(TENANT, NAME, budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.heads.swap(head(), budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.records.count(scope(ONE_COMMIT), budget=budget())
    assert time.monotonic() - start < SOON_S
    await server.start()
    assert by_id(await find(filled)) == ["a"]
    assert (await filled.heads.get(TENANT, NAME, budget=budget())).snapshot.uid == UID


async def test_what_was_written_but_not_sealed_survives_a_kill(store, server):
    documents = [written("a", 1, 0, ["word one", "word two"])]
    await store.lexical.write(TENANT, UID, documents, None, budget=budget())
    server.kill()
    await server.start()
    assert await store.lexical.seal(TENANT, UID, 1, budget=budget()) == 2


async def test_a_commit_during_which_the_node_restarts_is_carried_out(tmp_path, server):
    async def restart():
        server.kill()
        await server.start()

    async with open_with_opensearch(tmp_path / "restarted") as leaves:
        lexical: Any = Interposed(leaves.lexical)
        lexical.before["seal"] = [restart]
        stores = Stores(leaves.heads, leaves.records, leaves.dense, lexical)
        async with Committer(stores, owner="me") as committer:
            result = await committer.put(TENANT, NAME, prepared("a", ["word"]), budget=budget(60))
        now = (await SnapshotReader(leaves.heads, timebox_s=30).head(TENANT, NAME, budget=budget())).head
        hits = await leaves.lexical.search("word", scope(now.snapshot), 5, budget=budget())
        assert result.outcome is Outcome.STORED
        assert texts_by_id(hits) == {"a": {"word"}}


async def test_a_paused_node_costs_the_budget_and_no_more(filled, server):
    server.pause()
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await find(filled, 0.3)
    with pytest.raises(DeadlineExceeded):
        await filled.heads.get(TENANT, NAME, budget=Budget.of(0.3))
    with pytest.raises(DeadlineExceeded):
        await filled.lexical.seal(TENANT, UID, 1, budget=Budget.of(0.3))
    assert time.monotonic() - start < 0.9 + SOON_S
    server.resume()
    assert by_id(await find(filled)) == ["a"]


async def test_a_slow_node_answers_within_the_budget(filled, server):
    server.pause()
    slow = asyncio.create_task(find(filled))
    asyncio.get_running_loop().call_later(0.3, server.resume)
    assert by_id(await slow) == ["a"]


async def test_a_cancelled_search_is_given_up(filled, server):
    server.pause()
    waiting = asyncio.create_task(find(filled))
    asyncio.get_running_loop().call_later(0.05, waiting.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.resume()
    assert by_id(await find(filled)) == ["a"]


async def test_a_disk_over_its_flood_stage_refuses_writes_and_serves_reads(filled, server, address):
    configure(server, f"{address.prefix}-*/_settings", {"index.blocks.read_only_allow_delete": True})
    with pytest.raises(StorageFull):
        await filled.lexical.write(TENANT, UID, [written("b", 2, 0, ["word"])], None, budget=budget())
    with pytest.raises(StorageFull):
        await filled.records.put(TENANT, UID, [(written("b", 2, 0, ["word"])[0], "word")], budget=budget())
    with pytest.raises(StorageFull):
        await filled.heads.swap(replace(head(), name="other"), budget=budget())
    assert by_id(await find(filled)) == ["a"]


async def test_a_store_with_as_many_shards_as_it_may_have_says_so(filled, server):
    """No retry helps, and "the store failed" tells nobody what to do: with a shard a collection this comes some day."""
    setting = "cluster.max_shards_per_node"
    configure(server, "_cluster/settings", {"transient": {setting: 1}})
    try:
        with pytest.raises(StorageFull, match="max_shards_per_node"):
            await filled.lexical.write(TENANT, "uid-2", [written("b", 2, 0, ["word"])], None, budget=budget())
        await filled.lexical.write(TENANT, UID, [written("b", 2, 0, ["word"])], None, budget=budget())
    finally:
        configure(server, "_cluster/settings", {"transient": {setting: None}})


async def test_copies_hold_what_a_refresh_promised_where_a_cluster_replicates_segments(tmp_path):
    """There a refresh is the primary's alone unless an index says otherwise, and a commit would miss on the copies."""
    options = ("cluster.indices.replication.strategy=SEGMENT",)
    async with (
        rigged(lambda: running_opensearch(tmp_path, options=options)) as node,
        open_opensearch(OpenSearchAddress(node.url)) as store,
    ):
        await store.lexical.write(TENANT, UID, [written("a", 1, 0, ["word"])], None, budget=budget())
        settings = settings_of(node, "askmesh-*")
    assert len(settings) == 4
    assert {each["replication"]["type"] for each in settings} == {"DOCUMENT"}


async def test_a_store_that_refuses_reads_is_unavailable(filled, server, address):
    configure(server, f"{address.prefix}-*/_settings", {"index.blocks.read": True})
    with pytest.raises(SearchUnavailable):
        await find(filled)
    with pytest.raises(CatalogueUnavailable):
        await filled.heads.get(TENANT, NAME, budget=budget())


async def test_indexes_of_another_version_are_refused_at_the_start(filled, server, address):
    configure(server, f"{address.prefix}-records/_mapping", {"_meta": {"version": 999}})
    with pytest.raises(CatalogueUnavailable, match="newer version"):
        async with open_opensearch(address):
            pass


async def test_a_catalogue_that_was_deleted_is_unavailable_and_never_empty(filled, server, address):
    for name in ("records", "texts", "catalogue"):
        delete(server, f"{address.prefix}-{name}-v{VERSIONS[name]}")
    with pytest.raises(CatalogueUnavailable):
        await filled.records.count(scope(ONE_COMMIT), budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.records.put(TENANT, UID, [(written("b", 2, 0, ["word"])[0], "word")], budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.records.text(TENANT, UID, 1 << 16, budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.heads.get(TENANT, NAME, budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.heads.list(TENANT, after="", limit=5, budget=budget())
    with pytest.raises(CatalogueUnavailable):
        await filled.leases.get("janitor", budget=budget())


@pytest.mark.parametrize("lost", ["catalogue", "records", "texts"])
async def test_what_was_lost_is_not_begun_anew_beside_what_is_left(filled, server, address, lost):
    """An empty catalogue would name nothing of what the stores hold, and have it swept."""
    delete(server, f"{address.prefix}-{lost}-v{VERSIONS[lost]}")
    with pytest.raises(CatalogueUnavailable, match="restore"):
        async with open_opensearch(address):
            pass


async def test_a_swap_that_comes_after_everything_was_deleted_is_in_nobodys_way(filled, server, address):
    stored = await filled.heads.get(TENANT, NAME, budget=budget())
    for index in (*(f"{name}-v{VERSIONS[name]}" for name in ("catalogue", "records", "texts")), "chunks-v*"):
        delete(server, f"{address.prefix}-{index}")
    with pytest.raises((CatalogueUnavailable, Conflict)):
        await filled.heads.swap(stored, budget=budget())
    async with open_opensearch(address) as reopened:
        assert await reopened.heads.get(TENANT, NAME, budget=budget()) is None
        assert (await reopened.heads.swap(head(), budget=budget())).revision > 0


async def test_a_late_write_to_a_dropped_collection_makes_nothing_that_a_sweep_keeps(filled, address):
    await filled.heads.swap(replace(head(), name="other", snapshot=Snapshot("uid-2")), budget=budget())
    stored = await filled.heads.get(TENANT, NAME, budget=budget())
    await filled.heads.remove(stored, budget=budget())
    await filled.lexical.drop(TENANT, UID, budget=budget())
    await filled.lexical.write(TENANT, UID, [written("late", 2, 0, ["word"])], None, budget=budget())
    await filled.records.put(TENANT, UID, [(written("late", 2, 0, ["word"])[0], "word")], budget=budget())
    async with open_opensearch(address) as reopened:
        sweeper = Sweeper(reopened.heads, {"opensearch": reopened.holdings})
        assert [await sweeper.sweep(budget=budget()) for _ in range(3)] == [0, 1, 0]
        later = replace(ONE_COMMIT, high=2)
        assert await reopened.lexical.search("word", scope(later), 5, budget=budget()) == []
        assert await reopened.records.count(scope(later), budget=budget()) == (0, 0)


async def test_a_collection_that_is_dropped_while_its_index_is_made_is_no_bug_of_ours(address, server):
    async with connected(address) as engine:
        await opened(engine)
        vanishing: Any = Vanishing(engine, lambda: delete(server, f"{address.prefix}-chunks-v*"), "create", 2)
        with pytest.raises(SearchUnavailable):
            await OpenSearchLexicalIndex(vanishing).write(
                TENANT, UID, [written("a", 1, 0, ["word"])], None, budget=budget()
            )


async def test_a_collection_that_is_dropped_while_it_is_purged_is_done(address, server):
    """Whatever else came out of here ended the janitor's task, and with it all housekeeping of the process."""
    async with connected(address) as engine:
        await opened(engine)
        vanishing: Any = Vanishing(engine, lambda: delete(server, f"{address.prefix}-chunks-v*"), "delete_some", 1)
        lexical = OpenSearchLexicalIndex(vanishing)
        await lexical.write(TENANT, UID, [written("a", 1, 0, ["word"])], None, budget=budget())
        assert await lexical.purge(TENANT, UID, range(version_of(1, 0), version_of(2, 0)), budget=budget()) == 0


class Vanishing:
    """An engine whose index goes before the `time`-th call of `method`."""

    def __init__(self, engine, vanish, method, time):
        self._engine = engine
        self._vanish = vanish
        self._method = method
        self._left = time

    def __getattr__(self, name):
        if name == self._method:
            self._left -= 1
            if self._left == 0:
                self._vanish()
        return getattr(self._engine, name)


@asynccontextmanager
async def losing_answers(server, method):
    """A way to the node that breaks off instead of bringing the answer to the first request of this method."""
    state = {"armed": True}

    async def relay(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection(server.host, server.port)

        async def answers():
            while data := await upstream_reader.read(65_536):
                if state.get("losing"):
                    state["losing"] = False
                    break
                writer.write(data)
            writer.close()

        task = asyncio.create_task(answers())
        while data := await reader.read(65_536):
            if state["armed"] and data.startswith(method):
                state["armed"], state["losing"] = False, True
            upstream_writer.write(data)
        upstream_writer.close()
        await task

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as way:
        yield way.sockets[0].getsockname()[1]


async def test_a_swap_whose_answer_is_lost_is_found_to_be_stored(filled, server, address):
    """Neither a failure nor a conflict with itself: the writer goes on with the revision it has."""
    request = f"PUT /{address.prefix}-catalogue".encode()
    async with (
        losing_answers(server, request) as port,
        open_opensearch(replace(address, url=f"http://127.0.0.1:{port}")) as cut,
    ):
        current: Any = await cut.heads.get(TENANT, NAME, budget=budget())
        stored = await cut.heads.swap(current, budget=budget())
        assert stored.revision > current.revision
        assert await filled.heads.get(TENANT, NAME, budget=budget()) == stored
        with pytest.raises(Conflict):
            await cut.heads.swap(current, budget=budget())
