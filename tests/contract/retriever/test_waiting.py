"""A retriever that finds stores of an older layout: it serves their migration alone, then everything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
from rag.retriever.v1 import maintenance_pb2 as pb

from chassis.address import socket_folder
from chassis.channel import open_channel
from chassis.errors import LayoutOutdated, MethodUnknown, PermissionDenied
from retriever.search.opensearch import connected
from tests.contract.retriever.conftest import OWNER, READER, Caller, ids, refused
from tests.contract.retriever.test_cluster import clustered
from tests.contract.search.clusters import OPENSEARCH
from tests.contract.search.oldlayouts import age_opensearch, age_weaviate
from tests.contract.search.weaviates import WEAVIATE, engine_of


async def aged(folder, collection):
    """The stores of this folder's installation as an older version left them."""
    server = await WEAVIATE.running()
    async with (
        OPENSEARCH.installation(folder) as address,
        connected(address) as opensearch,
        engine_of(server) as weaviate,
    ):
        fingerprint = collection.embedder_fingerprint
        await age_weaviate(weaviate, address.prefix, collection.uid, fingerprint, tenant="acme")
        age_opensearch(address, opensearch)


@asynccontextmanager
async def waiting(folder, embedder):
    """A retriever on its way to being ready, and two callers of it; the task ends when it is told to."""
    with socket_folder() as sockets:
        listen, is_ready, is_over = f"unix:{sockets / 'w'}", asyncio.Event(), asyncio.Event()

        async def serve():
            async with clustered(folder, embedder, listen=listen):
                is_ready.set()
                await is_over.wait()

        task = asyncio.create_task(serve())
        channel = open_channel(listen)
        try:
            yield Caller(channel, OWNER), Caller(channel, READER), is_ready
        finally:
            is_over.set()
            await task
            await channel.close()


async def operated(caller, method, request):
    """As soon as it listens."""
    while True:
        try:
            return await caller.operate(method, request)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)


async def test_until_its_stores_are_migrated_a_retriever_serves_that_and_nothing_else(tmp_path, embedder):
    async with clustered(tmp_path, embedder) as first:
        await first.owner.put("tools.md", "# Tools\n\nThe spanner tightens bolts.")
        before = await first.owner.retrieve("Which tool tightens bolts?")
        await aged(tmp_path, await first.owner.collection())
    async with waiting(tmp_path, embedder) as (owner, reader, is_ready):
        async with refused(LayoutOutdated):
            await operated(owner, "VerifyCollection", pb.VerifyCollectionRequest(collection="docs"))
        async with refused(PermissionDenied):
            await reader.operate("MigrateStores", pb.MigrateStoresRequest())
        async with refused(MethodUnknown):
            await owner.retrieve("Which tool tightens bolts?")
        assert not is_ready.is_set()

        report = await owner.operate("MigrateStores", pb.MigrateStoresRequest())

        assert report.migrated_count == 5
        await is_ready.wait()
        after = await owner.retrieve("Which tool tightens bolts?")
        assert ids(after) == ids(before) == ["tools.md"]
        assert (after.passages[0].HasField("dense"), after.passages[0].HasField("lexical")) == (True, True)
        assert (
            await owner.operate("VerifyCollection", pb.VerifyCollectionRequest(collection="docs"))
        ).finding_count == 0
