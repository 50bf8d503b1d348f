"""An orchestrator and a real retriever with the snapshot mirror between them: both sides on, and either alone."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc
from rag.retriever.v1 import document_pb2 as documents
from rag.retriever.v1 import document_pb2_grpc, retriever_pb2, retriever_pb2_grpc
from redis.asyncio import Redis

import orchestrator.app
import retriever.app
from chassis.channel import open_channel
from chassis.errors import SettingsInvalid
from chassis.mirror import mirror_name
from chassis.redis_mirror import PREFIX
from chassis.settings import load
from chassis.telemetry import Telemetry
from orchestrator.retrieval.mirrored import REFUSED_IN_A_ROW
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings

SECRET = "shared by the whole installation"
QUESTION = "What is the code word?"
KEY = f"{PREFIX}value:{mirror_name('local', 'docs')}"


@dataclass
class Pair:
    telemetry: Telemetry
    asks: Any
    documents: Any
    snapshots: Any

    async def put(self, text="The code word is alpha."):
        given = documents.DocumentInput(document_id="a", text=text)
        await self.documents.PutDocument(documents.PutDocumentRequest(collection="docs", document=given), timeout=30)

    async def ask(self):
        return await self.asks.Ask(pb.AskRequest(collection="docs", question=QUESTION), timeout=30)

    def counted(self, outcome):
        name = "askmesh_snapshot_mirror_total"
        return self.telemetry.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


@asynccontextmanager
async def paired(folder, redis_url, *, retrievers=None, orchestrators=None):
    """`retrievers`, `orchestrators`: their settings of the mirror, {} where it is off."""
    async with AsyncExitStack() as stack:
        telemetry = Telemetry("test")
        on = {"mirror": "redis", "redis_url": redis_url, "redis_secret": SECRET}
        kept = load(
            RetrieverSettings,
            listen=f"unix:{folder}/r",
            data_folder=folder / "data",
            embedder="none",
            retrieval_timeout_ms=5_000,
            **(on if retrievers is None else retrievers),
        )
        served = await stack.enter_async_context(
            retriever.app.build(kept, telemetry=telemetry.for_service("retriever"))
        )
        asked = load(
            OrchestratorSettings,
            listen=f"unix:{folder}/o",
            retriever_address=served.address,
            embedder="none",
            retrieve_timeout_ms=5_000,
            **(on if orchestrators is None else orchestrators),
        )
        running = await stack.enter_async_context(orchestrator.app.build(asked, telemetry=telemetry))
        channels = [open_channel(running.address), open_channel(served.address)]
        for channel in channels:
            stack.push_async_callback(channel.close)
        yield Pair(
            telemetry,
            rpc.OrchestratorServiceStub(channels[0]),
            document_pb2_grpc.DocumentServiceStub(channels[1]),
            retriever_pb2_grpc.RetrieverServiceStub(channels[1]),
        )


@pytest.fixture
async def redis(redis_server):
    client = Redis.from_url(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


async def test_the_second_ask_takes_its_snapshot_from_the_mirror(tmp_path, redis, redis_server):
    async with paired(tmp_path, redis_server.url) as pair:
        await pair.put()
        while not pair.counted("hit"):  # a stall of more than the mirror's 2 s between two asks makes it a miss
            assert "alpha" in (await pair.ask()).text
        assert pair.counted("filled") >= 1
        assert 0 < await redis.pttl(KEY) <= 2_000


async def test_an_update_is_seen_by_the_next_ask_and_taken_out_of_the_mirror(tmp_path, redis, redis_server):
    async with paired(tmp_path, redis_server.url) as pair:
        for number in range(5):
            await pair.put(f"The code word is word{number}.")
            assert await redis.get(KEY) is None
            for _ in range(2):
                assert f"word{number}" in (await pair.ask()).text


async def test_forged_values_are_counted_and_not_believed(tmp_path, redis, redis_server):
    async with paired(tmp_path, redis_server.url) as pair:
        await pair.put()
        await redis.set(KEY, b"forged", px=60_000)
        assert "alpha" in (await pair.ask()).text
        assert pair.telemetry.registry.get_sample_value("askmesh_snapshot_mirror_rejected_total") == 1


async def test_an_orchestrator_switched_on_alone_asks_on_and_says_so(tmp_path, redis, redis_server, caplog):
    async with paired(tmp_path, redis_server.url, retrievers={}) as pair:
        await pair.put()
        with caplog.at_level(logging.WARNING):
            while pair.counted("refused") < REFUSED_IN_A_ROW:
                assert "alpha" in (await pair.ask()).text
                await redis.flushall()  # else the token stands for 2 s
        assert "do not fill the snapshot mirror" in caplog.text
        assert pair.counted("hit") == pair.counted("filled") == 0


async def test_a_retriever_switched_on_alone_serves_as_ever(tmp_path, redis, redis_server):
    async with paired(tmp_path, redis_server.url, orchestrators={}) as pair:
        await pair.put()
        assert "alpha" in (await pair.ask()).text
        assert await redis.keys("*") == []


async def test_another_secret_mirrors_nothing_that_is_believed(tmp_path, redis, redis_server):
    other = {"mirror": "redis", "redis_url": redis_server.url, "redis_secret": "of another installation"}
    async with paired(tmp_path, redis_server.url, orchestrators=other) as pair:
        await pair.put()
        for _ in range(5):
            assert "alpha" in (await pair.ask()).text
        assert pair.counted("hit") == 0


async def test_a_token_that_does_not_stand_is_refused_and_a_long_one_invalid(tmp_path, redis, redis_server):
    async with paired(tmp_path, redis_server.url) as pair:
        await pair.put()
        request = retriever_pb2.GetSnapshotRequest(collection="docs", mirror_token="nobody took this one")
        assert not (await pair.snapshots.GetSnapshot(request, timeout=30)).mirrored
        with pytest.raises(Exception, match=r"mirror_token|INVALID_ARGUMENT"):
            await pair.snapshots.GetSnapshot(
                retriever_pb2.GetSnapshotRequest(collection="docs", mirror_token="x" * 65), timeout=30
            )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"redis_url": "redis://h", "redis_secret": "short"}, "REDIS_SECRET"),
        ({"redis_secret": SECRET}, "REDIS_URL"),
        ({"redis_url": "https://user:hunter2@h", "redis_secret": SECRET}, "REDIS_URL"),
    ],
)
async def test_a_retriever_with_half_a_mirror_does_not_start(tmp_path, given, named):
    settings = load(RetrieverSettings, data_folder=tmp_path / "data", embedder="none", mirror="redis", **given)
    with pytest.raises(SettingsInvalid) as caught:
        async with retriever.app.build(settings, telemetry=Telemetry("test")):
            pytest.fail("it was taken")
    assert named in str(caught.value)
    assert "hunter2" not in f"{caught.value!r} {settings!r}"


async def test_an_orchestrator_with_a_short_secret_does_not_start(tmp_path):
    settings = load(OrchestratorSettings, listen=f"unix:{tmp_path}/o", embedder="none", mirror="redis")
    with pytest.raises(SettingsInvalid, match=r"REDIS_SECRET.*mirror=redis"):
        async with orchestrator.app.build(settings, telemetry=Telemetry("test")):
            pytest.fail("it was taken")
