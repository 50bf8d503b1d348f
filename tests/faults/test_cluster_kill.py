"""kill -9 at random points of commits over Weaviate and OpenSearch, with readers running: a judge reads every answer.

Two retrievers write at the same time, of which one after the other is killed; a third one is only read from. In further
rounds a store is killed, or a retriever is stopped for longer than its lease and its transaction last. At the end both
stores and the catalogue hold exactly the last acknowledged versions.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack

import grpc
import pytest
from rag.retriever.v1 import (
    document_pb2,
    document_pb2_grpc,
    filter_pb2,
    maintenance_pb2,
    maintenance_pb2_grpc,
    retriever_pb2,
    retriever_pb2_grpc,
)

from chassis.address import socket_folder
from chassis.budget import Budget
from chassis.identity import LOCAL
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from tests.faults.clusters import contents, nesting, own_cluster, serving
from tests.faults.histories import PARTS, History, is_shown, text_of
from tests.faults.processes import IS_CAMPAIGN

FULL = {"retriever": 50, "opensearch": 6, "weaviate": 6, "stopped retriever": 1}
STRIKES = FULL if IS_CAMPAIGN else {"retriever": 3, "opensearch": 1, "weaviate": 1}
STOPPED_S = 150.0  # longer than the janitor's lease and what a transaction may stand open, one after the other
DOCUMENTS = 6  # written at the same time: they share transactions
READERS = 3
TIMEOUT_S = 60.0
PAUSE_S = 0.2  # before a call that failed is made again
COMMIT_S = 0.3  # a commit on a busy machine: kills fall anywhere in it
COLLECTION = "docs"
LEGS = (retriever_pb2.LEGS_UNSPECIFIED, retriever_pb2.LEGS_DENSE, retriever_pb2.LEGS_LEXICAL)
# Settings under which an answer says what the stores hold, not how busy the machine is.
PATIENT = {"retrieval_timeout_ms": "5000"}
NOT_NOW = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Campaign:
    """Writers, readers, and what they agree about."""

    def __init__(self, writers, reader) -> None:
        self.writers = writers
        self.reader = reader
        self.histories = [History(f"d{number}") for number in range(DOCUMENTS)]
        self.acknowledged = asyncio.Condition()
        self.stopping = False
        self.counts: Counter[str] = Counter()

    def channel(self):
        """A writing retriever that was not killed just now."""
        return random.choice([each.channel for each in self.writers])

    async def write(self, history) -> None:
        """The next state, and the next, until told to stop; each until it is acknowledged."""
        while not self.stopping:
            history.begun += 1
            while not await self._put(history):  # noqa: ASYNC110  # what is waited for is a killed process
                await asyncio.sleep(PAUSE_S)
            history.acknowledged = history.begun
            async with self.acknowledged:
                self.acknowledged.notify_all()

    async def _put(self, history) -> bool:
        """Whether the state that was begun is acknowledged."""
        channel = self.channel()
        try:
            if is_shown(history.begun):
                await put(channel, history.document_id, text_of(history.document_id, history.begun))
            else:
                await delete(channel, history.document_id)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND and not is_shown(history.begun):
                return True  # an earlier try deleted it, and its answer was lost
            self._note(error, "write")
            return False
        self.counts["writes"] += 1
        return True

    def _note(self, error, what) -> None:
        """Count a refusal that a killed process or store explains; raise any other."""
        if error.code() not in NOT_NOW:
            raise error
        self.counts[f"{what} {error.code().name}"] += 1

    async def read(self, seed) -> None:
        chance = random.Random(seed)
        while not self.stopping:
            channel = self.reader.channel if chance.random() < 0.8 else self.channel()
            await self._judge(channel, chance.choice(self.histories), chance.choice(LEGS))
            await asyncio.sleep(0)

    async def _judge(self, channel, history, legs) -> None:
        floor = history.floor()
        try:
            answer = await retriever_pb2_grpc.RetrieverServiceStub(channel).Retrieve(
                question(history.document_id, legs), timeout=TIMEOUT_S
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:  # the collection's first commit
                history.judge([], floor)
            else:
                self._note(error, "read")
                await asyncio.sleep(PAUSE_S)
            return
        lost = {retriever_pb2.DegradedReason.Name(each.reason) for each in answer.degraded}
        self.counts["reads"] += 1
        self.counts.update(f"degraded {each.removeprefix('DEGRADED_REASON_')}" for each in lost)
        is_old = "DEGRADED_REASON_CATALOGUE_UNAVAILABLE" in lost
        history.judge([passage.text for passage in answer.passages], floor, is_old=is_old)
        if legs == retriever_pb2.LEGS_UNSPECIFIED and not lost:  # in one leg only: half a commit too
            assert all(passage.HasField("dense") and passage.HasField("lexical") for passage in answer.passages), answer

    async def progress(self, count) -> None:
        """Return when so many more writes were acknowledged."""
        async with self.acknowledged:
            for _ in range(count):
                await self.acknowledged.wait()

    async def strike(self, kind, cluster, chance) -> None:
        """Somewhere in a commit; what was struck runs again when this returns."""
        await self.progress(chance.randint(1, DOCUMENTS))
        await asyncio.sleep(chance.uniform(0, COMMIT_S))
        if kind in {"opensearch", "weaviate"}:
            server = getattr(cluster, kind)
            server.kill()
            await server.start()
        else:
            struck = self.writers.pop(0)
            await (struck.restarted() if kind == "retriever" else struck.stopped_for(STOPPED_S))
            self.writers.append(struck)
        self.counts[f"{kind} struck"] += 1
        sys.stdout.write(f"{kind} struck: {dict(sorted(self.counts.items()))}\n")
        sys.stdout.flush()  # a campaign takes its time: -s shows how far it is


async def put(channel, document_id, text) -> None:
    given = document_pb2.DocumentInput(document_id=document_id, text=text, content_type="text/markdown")
    request = document_pb2.PutDocumentRequest(collection=COLLECTION, document=given)
    stored = await document_pb2_grpc.DocumentServiceStub(channel).PutDocument(request, timeout=TIMEOUT_S)
    assert stored.document.chunk_count == PARTS


async def delete(channel, document_id) -> None:
    request = document_pb2.DeleteDocumentRequest(collection=COLLECTION, document_id=document_id)
    await document_pb2_grpc.DocumentServiceStub(channel).DeleteDocument(request, timeout=TIMEOUT_S)


def question(document_id, legs):
    comparison = filter_pb2.Comparison(
        field="document_id", operator=filter_pb2.OPERATOR_EQ, value=filter_pb2.Value(string_value=document_id)
    )
    return retriever_pb2.RetrieveRequest(
        collection=COLLECTION,
        query="document version says part",
        top_k=100,
        legs=legs,
        filter=filter_pb2.Filter(comparison=comparison),
    )


@pytest.mark.timeout(7_200 if IS_CAMPAIGN else 1_200)  # ten times what it takes on a quiet machine
async def test_kills_in_the_middle_of_commits_show_no_reader_half_a_commit_a_ghost_or_a_loss(tmp_path, record_property):
    seed = random.randrange(1 << 32)  # other points every time; the invariants hold at all of them
    chance = random.Random(seed)
    order = [kind for kind, count in STRIKES.items() for _ in range(count)]
    chance.shuffle(order)
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        cluster = await stack.enter_async_context(own_cluster(tmp_path))
        settings = {**cluster.settings, **PATIENT, "data_folder": str(tmp_path / "unused")}
        nest = await stack.enter_async_context(nesting(tmp_path))
        first = await stack.enter_async_context(serving(nest, sockets / "0", settings))  # makes the catalogue's indexes
        second, reader = await asyncio.gather(
            *(stack.enter_async_context(serving(nest, sockets / str(number), settings)) for number in (1, 2))
        )
        campaign = Campaign([first, second], reader)
        async with asyncio.TaskGroup() as group:
            for history in campaign.histories:
                group.create_task(campaign.write(history))
            for number in range(READERS):
                group.create_task(campaign.read(seed + number))
            for kind in order:
                await campaign.strike(kind, cluster, chance)
            await campaign.progress(2 * DOCUMENTS)
            campaign.stopping = True
        await _verify(reader.channel)
        for process in (first, second, reader):
            await process.kill()
        await _check_the_end(cluster, campaign.histories)
    record_property("seed", seed)
    record_property("took", f"{time.monotonic() - started:.0f} s")
    for name, count in sorted(campaign.counts.items()):
        record_property(name, count)
    assert all(history.shown for history in campaign.histories)


async def _verify(channel) -> None:
    """What an operator would see: nothing is wrong, though the janitor has not yet swept after everybody who died."""
    request = maintenance_pb2.VerifyCollectionRequest(collection=COLLECTION)
    call = maintenance_pb2_grpc.MaintenanceServiceStub(channel).VerifyCollection(request, timeout=TIMEOUT_S)
    report = [answer async for answer in call][-1].report
    assert report.collection == COLLECTION
    assert list(report.findings) == []


async def _check_the_end(cluster, histories) -> None:
    """Both stores and the catalogue hold the last versions and nothing else, visible or not."""
    async with OnnxEmbedder.opened(await ensure_model(Precision.INT8), Precision.INT8) as embedder:
        [vector] = await embedder.embed(["document"], budget=Budget.of(TIMEOUT_S))
        found = await contents(
            cluster, COLLECTION, tenant=LOCAL.tenant, fingerprint=embedder.fingerprint, vector=vector
        )
    expected = {each.document_id: each for each in histories if is_shown(each.acknowledged)}
    assert not found.head.open_numbers
    assert found.records == dict.fromkeys(expected, PARTS)
    for leg in (found.dense, found.lexical):
        assert {name: len(texts) for name, texts in leg.items()} == dict.fromkeys(expected, PARTS)
        for name, texts in leg.items():
            expected[name].judge(texts, expected[name].acknowledged)
