"""What only the Weaviate leaf has to show: faults of a real server, which the embedded leaf has in other forms."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from askmesh.rig.weaviate import running_weaviate
from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, RagError, SearchUnavailable, StorageFull
from retriever.ingest.commit import Committer, Stores
from retriever.search.embedded import open_embedded
from retriever.search.weaviate import WeaviateDenseIndex, open_engine
from retriever.search.weaviate.layout import class_definition, class_name, tenant_name
from retriever.search.weaviate.objects import Shard, batch
from retriever.types import Snapshot, version_of
from tests.contract.search.faults import Interposed
from tests.contract.search.samples import (
    DIM,
    TENANT,
    budget,
    by_id,
    prepared,
    scope,
    texts_of,
    unit,
    vectors_of,
    written,
)
from tests.contract.search.weaviates import dense_at, engine_of, namespace_of
from tests.proxies import proxied
from tests.rig_servers import rigged

UID = "uid-1"
ONE_COMMIT = Snapshot(UID, generation=1, high=1)
DOCUMENTS = [written("a", 1, 0, ["word a", "word b"]), written("b", 1, 1, ["word c"])]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server to break; each test leaves it running."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder = tmp_path_factory.mktemp("weaviate")
        yield runner.run(stack.enter_async_context(rigged(lambda: running_weaviate(folder))))
        runner.run(stack.aclose())


@pytest.fixture
async def dense(own_server, request):
    async with engine_of(own_server) as engine:
        yield dense_at(engine, namespace_of(request.node.name))


async def put(index, documents=DOCUMENTS):
    await index.write(TENANT, UID, documents, vectors_of(documents), budget=budget())
    return await index.seal(TENANT, UID, documents[0][0].version >> 16, budget=budget())


async def found(index, snapshot=ONE_COMMIT):
    return sorted(texts_of(await index.search(unit(1.0), scope(snapshot), 1_000, budget=budget())))


@asynccontextmanager
async def http_of(server):
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield http


async def test_a_killed_store_is_unavailable_at_once_and_keeps_what_it_acknowledged(own_server, dense):
    assert await put(dense) == 3
    own_server.kill()
    started = time.monotonic()
    with pytest.raises(SearchUnavailable) as refused:
        await dense.search(unit(1.0), scope(ONE_COMMIT), 5, budget=budget())
    with pytest.raises(SearchUnavailable):
        await put(dense)
    assert time.monotonic() - started < 5.0
    assert "127.0.0.1" not in refused.value.message
    await own_server.start()
    assert await eventually_found(dense) == ["word a", "word b", "word c"]
    assert await dense.seal(TENANT, UID, 1, budget=budget()) == 3


async def test_every_acknowledged_chunk_is_found_after_a_kill_however_many_batches_it_came_in(own_server, dense):
    many = [written("a", 1, 0, ["word"] * 250), written("b", 1, 1, ["word"] * 30)]
    await dense.write(TENANT, UID, many, vectors_of(many), budget=budget())
    own_server.kill()
    await own_server.start()
    assert len(await eventually_found(dense)) == 280
    assert await dense.seal(TENANT, UID, 1, budget=budget()) == 280


async def test_chunks_that_a_kill_took_out_of_the_graph_are_not_sealed(own_server, request):
    """Written without the flush that ends a write: Weaviate counts them afterwards, and never finds them."""
    async with open_engine(own_server.url, grpc_of(own_server)) as engine:
        dense = WeaviateDenseIndex(engine, fingerprint="embedder/1", dim=DIM, namespace=namespace_of(request.node.name))
        await put(dense, [written("first", 2, 0, ["word"])])
        rows = [(record, chunk) for record, chunks in DOCUMENTS for chunk in chunks]
        shard = Shard(class_name("embedder/1"), tenant_name(namespace_of(request.node.name), TENANT, UID))
        await engine.store(batch(shard, rows, vectors_of(DOCUMENTS)), budget=budget())
        own_server.kill()
        await own_server.start()
        assert await dense.seal(TENANT, UID, 1, budget=budget()) == len(await eventually_found(dense))


async def eventually_found(index):
    """The channel comes back by itself, within its reconnect pause."""
    until = Budget.of(10.0)
    while True:
        try:
            return await found(index)
        except SearchUnavailable:
            until.check("reconnecting")


@pytest.mark.parametrize(
    "call",
    [
        lambda dense: dense.search(unit(1.0), scope(ONE_COMMIT), 5, budget=budget(0.3)),
        lambda dense: dense.write(TENANT, UID, DOCUMENTS, vectors_of(DOCUMENTS), budget=budget(0.3)),
        lambda dense: dense.seal(TENANT, UID, 1, budget=budget(0.3)),
        lambda dense: dense.purge(TENANT, UID, [1], budget=budget(0.3)),
        lambda dense: dense.drop(TENANT, UID, budget=budget(0.3)),
    ],
    ids=["search", "write", "seal", "purge", "drop"],
)
async def test_a_paused_store_costs_no_more_than_the_budget(own_server, dense, call):
    await put(dense)
    pause(own_server)
    started = time.monotonic()
    try:
        with pytest.raises(DeadlineExceeded):
            await call(dense)
        assert time.monotonic() - started < 2.0  # .3 s, on a machine that stalls
    finally:
        own_server.resume()
    await eventually_found(dense)  # it answers again, by itself


def pause(server):
    """Pause it, and see that it stands: a signal takes its time."""
    server.pause()
    while Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass


async def test_vectors_of_another_length_are_refused_and_change_nothing(dense):
    await put(dense)
    more = [written("c", 2, 0, ["word d"])]
    with pytest.raises(SearchUnavailable):
        await dense.write(TENANT, UID, more, vectors_of(more)[:, :4], budget=budget())
    assert await found(dense) == ["word a", "word b", "word c"]
    assert await put(dense, more) == 1


async def test_a_class_that_something_else_made_is_not_written_to(own_server):
    definition = class_definition(class_name("another/1"))
    definition["vectorIndexConfig"]["distance"] = "l2-squared"
    async with http_of(own_server) as http, open_engine(own_server.url, grpc_of(own_server)) as engine:
        (await http.post("/v1/schema", json=definition)).raise_for_status()
        with pytest.raises(SearchUnavailable, match="made by something else"):
            await put(WeaviateDenseIndex(engine, fingerprint="another/1", dim=DIM))


async def test_an_emptied_store_finds_nothing_and_can_be_written_again(own_server, dense):
    await put(dense)
    async with http_of(own_server) as http:
        (await http.delete(f"/v1/schema/{class_name('embedder/1')}")).raise_for_status()
    assert await found(dense) == []
    assert await dense.seal(TENANT, UID, 1, budget=budget()) == 0
    assert await put(dense) == 3
    assert await found(dense) == ["word a", "word b", "word c"]


async def test_a_shard_turned_read_only_is_a_full_store_and_still_searched(own_server, dense, request):
    await put(dense)
    shard = tenant_name(namespace_of(request.node.name), TENANT, UID)
    async with http_of(own_server) as http:
        path = f"/v1/schema/{class_name('embedder/1')}/shards/{shard}"
        (await http.put(path, json={"status": "READONLY"})).raise_for_status()
        with pytest.raises(StorageFull):
            await put(dense, [written("c", 2, 0, ["word d"])])
        assert await found(dense) == ["word a", "word b", "word c"]
        (await http.put(path, json={"status": "READY"})).raise_for_status()
    assert await put(dense, [written("c", 2, 0, ["word d"])]) == 1


async def test_dead_versions_go_from_the_classes_of_other_embedders_too(own_server):
    async with open_engine(own_server.url, grpc_of(own_server)) as engine:
        old = WeaviateDenseIndex(engine, fingerprint="embedder/old", dim=DIM, namespace="turned")
        new = WeaviateDenseIndex(engine, fingerprint="embedder/new", dim=DIM, namespace="turned")
        await put(old)
        assert await new.purge(TENANT, UID, [version_of(1, 0)], budget=budget()) == 0
        assert await found(old) == ["word c"]
        await new.drop(TENANT, UID, budget=budget())
        assert await found(old) == []


async def test_a_commit_whose_store_was_killed_midway_is_not_seen_and_can_be_made_again(own_server, dense, tmp_path):
    async def restart():
        own_server.kill()
        await own_server.start()
        raise SearchUnavailable("killed in the middle of the commit")

    async with open_embedded(tmp_path) as own:
        struck = Interposed(dense)
        stores = Stores(heads=own.heads, records=own.records, dense=struck, lexical=own.lexical)
        async with Committer(stores, owner="writer") as committer:
            await committer.put(TENANT, "c", prepared("a", ["word old"]), budget=budget())
            struck.after["write"] = [restart]
            with pytest.raises(SearchUnavailable):
                await committer.put(TENANT, "c", prepared("a", ["word new"]), budget=budget())
            assert await seen(own, dense) == ["word old"]
            await committer.put(TENANT, "c", prepared("a", ["word new"]), budget=budget())
            assert await seen(own, dense) == ["word new"]


async def seen(own, dense):
    head = await own.heads.get(TENANT, "c", budget=budget())
    until = Budget.of(10.0)
    while True:
        try:
            return texts_of(await dense.search(unit(1.0), scope(head.snapshot), 5, budget=budget()))
        except SearchUnavailable:
            until.check("reconnecting")


async def test_a_write_outlives_a_connection_that_breaks_and_a_search_waits_for_nobody(own_server, request):
    async with (
        proxied(own_server.ports["grpc"]) as way,
        open_engine(own_server.url, f"{way.host}:{way.port}") as engine,
    ):
        index = dense_at(engine, namespace_of(request.node.name))
        assert await put(index) == 3
        way.refuse()
        with pytest.raises(SearchUnavailable):
            await index.search(unit(1.0), scope(ONE_COMMIT), 5, budget=Budget.of(0.25))
        healing = asyncio.create_task(healed(way, after_s=0.3))
        assert await put(index, [written("c", 2, 0, ["word d"])]) == 1
        await healing


async def healed(way, *, after_s):
    await asyncio.sleep(after_s)
    await way.heal()


async def test_a_weaviate_that_indexes_later_is_named_in_the_log(tmp_path, caplog):
    """Every write fails there, with the advice to try again."""
    options = {"ASYNC_INDEXING": "true", "QUEUE_SCHEDULER_INTERVAL": "1h"}
    async with (
        rigged(lambda: running_weaviate(tmp_path, options=options)) as server,
        open_engine(server.url, grpc_of(server)) as engine,
    ):
        with caplog.at_level("WARNING"):
            assert await put(WeaviateDenseIndex(engine, fingerprint="embedder/1", dim=DIM)) == 0
    assert "ASYNC_INDEXING" in caplog.text


async def test_a_key_is_sent_through_both_doors(tmp_path):
    options = {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "the key",
        "AUTHENTICATION_APIKEY_USERS": "askmesh",
    }
    async with rigged(lambda: running_weaviate(tmp_path, options=options)) as server:
        async with open_engine(server.url, grpc_of(server), "the key") as engine:
            index = WeaviateDenseIndex(engine, fingerprint="embedder/1", dim=DIM)
            assert await put(index) == 3
            assert by_id(await index.search(unit(1.0), scope(ONE_COMMIT), 9, budget=budget()))
        async with open_engine(server.url, grpc_of(server)) as stranger:
            with pytest.raises(RagError) as refused:
                await put(WeaviateDenseIndex(stranger, fingerprint="embedder/1", dim=DIM))
            assert "key" not in refused.value.message


def grpc_of(server):
    return f"{server.host}:{server.ports['grpc']}"
