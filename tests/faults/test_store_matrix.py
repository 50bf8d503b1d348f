"""Every fault of each store, seen through the whole retriever: what a caller gets, and that it comes in time.

The stores are reached through proxies of ours, so that a store can be slow or refuse without being touched. The table
of docs/degradation.md is what each answer is held against.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from rag.orchestrator.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from rag.retriever.v1 import document_pb2, document_pb2_grpc, retriever_pb2

import orchestrator.app
from chassis.channel import open_channel
from chassis.errors import (
    BackendUnavailable,
    CatalogueUnavailable,
    DeadlineExceeded,
    RagError,
    SearchUnavailable,
    StorageFull,
)
from chassis.settings import load
from chassis.status import from_rpc_error
from chassis.telemetry import Telemetry
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from orchestrator.settings import OrchestratorSettings
from retriever.search.weaviate.layout import class_definition, class_name
from tests.contract.retriever.conftest import Running, ids, running
from tests.contract.search.samples import FakeClock
from tests.faults.clusters import own_cluster
from tests.faults.processes import IS_CAMPAIGN
from tests.proxies import proxied

TIMEBOX_MS = 250 if IS_CAMPAIGN else 3_000  # a campaign runs on a quiet machine, with the timebox as shipped
# Over the timebox: gRPC, fusion, and the moment a cancelled call takes to end. The rest is for a busy machine.
LATE_S = 0.25 if IS_CAMPAIGN else 5.0
WRITE_S = 2.0  # for a write that cannot succeed
HEALED_S = 120.0  # within which everything must be back; a breaker looks again after a second, a store starts in ten
TEXT = "The spanner tightens bolts of every size."
QUESTION = "Which tool tightens bolts?"

LEXICAL = retriever_pb2.DEGRADED_REASON_LEXICAL_UNAVAILABLE
DENSE = retriever_pb2.DEGRADED_REASON_DENSE_UNAVAILABLE
CATALOGUE = retriever_pb2.DEGRADED_REASON_CATALOGUE_UNAVAILABLE


@dataclass
class Bench:
    """A retriever, the two stores it uses, and the ways between them."""

    retriever: Running
    cluster: Any
    ways: dict[str, list[Any]]
    prefix: str

    async def ask(self, **fields):
        """An answer, which is in time."""
        started = time.monotonic()
        answer = await self.retriever.owner.retrieve(QUESTION, **fields)
        assert time.monotonic() - started <= TIMEBOX_MS / 1e3 + LATE_S
        return answer

    async def lost(self) -> set[int]:
        """Why the answer to a plain question is degraded; it has the passage all the same."""
        answer = await self.ask()
        assert ids(answer) == ["wrench"]
        return {each.reason for each in answer.degraded}

    async def healed(self) -> None:
        """Return when nothing is missing any more."""
        async with asyncio.timeout(HEALED_S):
            while await self._lost_or_failed():  # noqa: ASYNC110  # what is waited for is another process
                await asyncio.sleep(0.1)

    async def _lost_or_failed(self) -> bool:
        try:
            return bool((await self.retriever.owner.retrieve(QUESTION)).degraded)
        except grpc.RpcError:
            return True

    async def refused_write(self) -> RagError:
        request = document_pb2.PutDocumentRequest(
            collection="docs", document=document_pb2.DocumentInput(document_id="bread", text="Sourdough rises.")
        )
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as refused:
            await self.retriever.owner.unary(
                document_pb2_grpc.DocumentServiceStub, "PutDocument", request, timeout=WRITE_S
            )
        assert time.monotonic() - started <= WRITE_S + LATE_S
        return from_rpc_error(refused.value, BackendUnavailable)

    async def call(self, store, method, path, body=None) -> Any:
        """Something done to a store behind the retriever's back."""
        async with httpx.AsyncClient(base_url=getattr(self.cluster, store).url, timeout=30, trust_env=False) as client:
            answer = await client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedder():
    async with OnnxEmbedder.opened(await ensure_model(Precision.INT8), Precision.INT8) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory):
    async with own_cluster(tmp_path_factory.mktemp("stores")) as opened:
        yield opened


@asynccontextmanager
async def benched(cluster, embedder, folder, **options):
    async with AsyncExitStack() as stack:
        words = await stack.enter_async_context(proxied(cluster.opensearch.port))
        vectors = await stack.enter_async_context(proxied(cluster.weaviate.port))
        vectors_grpc = await stack.enter_async_context(proxied(cluster.weaviate.ports["grpc"]))
        prefix = f"m{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        stores = {
            "search": "cluster",
            "opensearch_url": f"http://127.0.0.1:{words.port}",
            "weaviate_url": f"http://127.0.0.1:{vectors.port}",
            "weaviate_grpc": f"127.0.0.1:{vectors_grpc.port}",
            "store_prefix": prefix,
            "retrieval_timeout_ms": TIMEBOX_MS,
        }
        retriever = await stack.enter_async_context(running(folder, embedder, **stores, **options))
        ways = {"opensearch": [words], "weaviate": [vectors, vectors_grpc]}
        bench = Bench(retriever, cluster, ways, prefix)
        await retriever.owner.put("wrench", TEXT)
        await bench.healed()  # a store's first searches take longer
        yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def bench(cluster, embedder, tmp_path):
    async with benched(cluster, embedder, tmp_path) as opened:
        yield opened


async def killed(bench, store):
    getattr(bench.cluster, store).kill()


async def stopped(bench, store):
    getattr(bench.cluster, store).pause()


async def slow(bench, store):
    for way in bench.ways[store]:
        way.delay_s = 2 * TIMEBOX_MS / 1e3


async def refusing(bench, store):
    for way in bench.ways[store]:
        way.refuse()


async def heal(bench, store):
    server = getattr(bench.cluster, store)
    if server.is_running:
        server.resume()
    else:
        await server.start()
    for way in bench.ways[store]:
        await way.heal()


GONE = {"opensearch": {LEXICAL, CATALOGUE}, "weaviate": {DENSE}}
REFUSALS = {
    "opensearch": (CatalogueUnavailable, SearchUnavailable, DeadlineExceeded),
    "weaviate": (SearchUnavailable, DeadlineExceeded),
}

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]  # stores are started and restarted


@pytest.mark.parametrize("store", ["opensearch", "weaviate"])
@pytest.mark.parametrize("fault", [killed, stopped, slow, refusing], ids=lambda fault: fault.__name__)
async def test_a_store_that_does_not_answer_is_left_out_in_time_and_taken_back(bench, store, fault):
    await fault(bench, store)
    try:
        for _ in range(3):  # the last of them behind an open breaker
            assert await bench.lost() == GONE[store]
        assert isinstance(await bench.refused_write(), REFUSALS[store])
    finally:
        await heal(bench, store)
    await bench.healed()
    await bench.retriever.owner.put("bread", "Sourdough rises.")
    assert ids(await bench.ask(top_k=1, legs=retriever_pb2.LEGS_DENSE)) == ["wrench"]
    assert {each.document_id for each in (await bench.retriever.owner.list()).documents} == {"wrench", "bread"}
    assert set(ids(await bench.retriever.owner.retrieve("Sourdough"))) == {"bread", "wrench"}


async def test_a_store_slower_than_usual_is_waited_for(bench):
    for ways in bench.ways.values():
        for way in ways:
            way.delay_s = TIMEBOX_MS / 1e3 / 20
    assert await bench.lost() == set()


@pytest.mark.parametrize("fault", [killed, refusing], ids=lambda fault: fault.__name__)
async def test_without_any_store_the_answer_is_a_refusal_in_time(bench, fault):
    try:
        for store in bench.ways:
            await fault(bench, store)
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as refused:
            await bench.ask()
        assert isinstance(from_rpc_error(refused.value, BackendUnavailable), SearchUnavailable)
        assert time.monotonic() - started <= TIMEBOX_MS / 1e3 + LATE_S
    finally:
        for store in bench.ways:
            await heal(bench, store)
    await bench.healed()


async def test_an_opensearch_whose_disk_is_full_refuses_writes_and_serves_reads(bench):
    path = f"/{bench.prefix}-*/_settings"
    await bench.call("opensearch", "PUT", path, {"index.blocks.read_only_allow_delete": True})
    assert isinstance(await bench.refused_write(), StorageFull)
    assert await bench.lost() == set()
    await bench.call("opensearch", "PUT", path, {"index.blocks.read_only_allow_delete": None})
    await bench.retriever.owner.put("bread", "Sourdough rises.")


async def test_a_weaviate_whose_disk_is_full_refuses_writes_and_serves_reads(bench, embedder):
    shards = f"/v1/schema/{class_name(embedder.fingerprint)}/shards"
    names = [shard["name"] for shard in await bench.call("weaviate", "GET", shards)]
    for name in names:  # what Weaviate does by itself when DISK_USE_READONLY_PERCENTAGE is passed
        await bench.call("weaviate", "PUT", f"{shards}/{name}", {"status": "READONLY"})
    assert isinstance(await bench.refused_write(), StorageFull)
    assert await bench.lost() == set()
    for name in names:
        await bench.call("weaviate", "PUT", f"{shards}/{name}", {"status": "READY"})
    await bench.retriever.owner.put("bread", "Sourdough rises.")


async def test_an_emptied_weaviate_is_reported_and_never_taken_for_an_empty_collection(bench, embedder):
    await bench.call("weaviate", "DELETE", f"/v1/schema/{class_name(embedder.fingerprint)}")
    assert await bench.lost() == {DENSE}
    await bench.retriever.owner.put("bread", "Sourdough rises.")  # the class is made anew


async def test_vectors_of_another_dimension_are_reported_and_not_written_to(bench, embedder):
    name = class_name(embedder.fingerprint)
    tenants = [each["name"] for each in await bench.call("weaviate", "GET", f"/v1/schema/{name}/tenants")]
    await bench.call("weaviate", "DELETE", f"/v1/schema/{name}")
    await bench.call("weaviate", "POST", "/v1/schema", class_definition(name))
    for tenant in tenants:
        body = {"class": name, "tenant": tenant, "vector": [1.0, 0.0, 0.0], "properties": {}}
        await bench.call("weaviate", "POST", "/v1/objects", body)
    try:
        assert await bench.lost() == {DENSE}
        assert isinstance(await bench.refused_write(), SearchUnavailable)
    finally:
        await bench.call("weaviate", "DELETE", f"/v1/schema/{name}")


async def test_a_class_that_something_else_made_is_reported_and_not_written_to(bench, embedder):
    name = class_name(embedder.fingerprint)
    await bench.call("weaviate", "DELETE", f"/v1/schema/{name}")
    definition = class_definition(name)
    definition["properties"] = definition["properties"][:1]
    await bench.call("weaviate", "POST", "/v1/schema", definition)
    try:
        assert await bench.lost() == {DENSE}
    finally:
        await bench.call("weaviate", "DELETE", f"/v1/schema/{name}")


async def test_an_index_that_something_else_made_is_reported(bench):
    [index] = [
        each["index"]
        for each in await bench.call("opensearch", "GET", f"/_cat/aliases/{bench.prefix}-chunks-*?format=json")
    ]
    [alias] = (await bench.call("opensearch", "GET", f"/{index}"))[index]["aliases"]
    await bench.call("opensearch", "DELETE", f"/{index}")
    foreign = {"aliases": {alias: {}}, "mappings": {"properties": {"text": {"type": "long"}}}}
    await bench.call("opensearch", "PUT", f"/{bench.prefix}-other", foreign)
    assert await bench.lost() == {LEXICAL}
    assert isinstance(await bench.refused_write(), SearchUnavailable | CatalogueUnavailable)


async def test_an_answer_from_the_last_known_state_is_never_cached(bench, tmp_path):
    async with asking(bench, tmp_path) as ask:
        assert await ask(QUESTION) == ("MISS", set())
        assert await ask(QUESTION) == ("HIT_EXACT", set())
        await refusing(bench, "opensearch")
        for _ in range(2):
            cache, lost = await ask("Which tool is for bolts?")
            assert (cache, "CATALOGUE_UNAVAILABLE" in lost) == ("MISS", True)
        await heal(bench, "opensearch")
        await bench.healed()
        assert await ask("Which tool is for bolts?") == ("MISS", set())


@asynccontextmanager
async def asking(bench, folder):
    """Asks an orchestrator in front of the retriever; returns what the cache said and what the answer lacks."""
    settings = load(
        OrchestratorSettings,
        listen=f"unix:{folder}/o.sock",
        retriever_address=bench.retriever.address,
        retrieve_timeout_ms=5_000,
        embedder="none",
        auth="api-key",
        api_keys_file=folder / "keys.json",
    )
    async with (
        orchestrator.app.build(settings, telemetry=Telemetry("test")) as running,
        open_channel(running.address) as channel,
    ):
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)

        async def ask(question):
            request = orchestrator_pb2.AskRequest(collection="docs", question=question)
            reply = await stub.Ask(request, timeout=30, metadata=bench.retriever.owner.metadata)
            assert "spanner" in reply.text
            reasons = {orchestrator_pb2.DegradedReason.Name(each.reason) for each in reply.completed.degraded}
            status = orchestrator_pb2.CacheStatus.Name(reply.started.cache.status)
            return status.removeprefix("CACHE_STATUS_"), {each.removeprefix("DEGRADED_REASON_") for each in reasons}

        yield ask


async def test_a_catalogue_that_is_down_serves_the_last_known_state_for_five_minutes_and_then_refuses(
    cluster, embedder, tmp_path
):
    clock = FakeClock()
    async with benched(cluster, embedder, tmp_path, clock=clock) as bench:
        await refusing(bench, "opensearch")
        clock.advance(299)
        assert await bench.lost() == GONE["opensearch"]
        clock.advance(2)
        with pytest.raises(grpc.RpcError) as refused:
            await bench.ask()
        assert isinstance(from_rpc_error(refused.value, BackendUnavailable), CatalogueUnavailable)
        await heal(bench, "opensearch")
        await bench.healed()
