"""kill -9 in the middle of ingests: what was acknowledged stays, what was not is invisible, nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from rag.retriever.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    document_pb2,
    document_pb2_grpc,
    filter_pb2,
    retriever_pb2,
    retriever_pb2_grpc,
)

from chassis.address import socket_folder
from chassis.channel import open_channel

KILLS = 30
DOCUMENTS = 300
TIMEOUT_S = 60.0
SEED = 20261123
SAMPLE = 5  # documents whose chunks are counted in each leg after every restart

CORPUS = {
    f"{number:03}.md": "\n\n".join(
        f"# Part {part} of {number}\n\n" + f"Document {number} says in part {part} what word{number}x{part} means. " * 8
        for part in range(1 + number % 4)
    )
    for number in range(DOCUMENTS)
}


@asynccontextmanager
async def serving(data_folder, socket):
    """A retriever in a process of its own, and a channel to it; the process is killed at the end, without warning."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ASKMESH_")},
        "ASKMESH_RETRIEVER_LISTEN": f"unix:{socket}",
        "ASKMESH_RETRIEVER_DATA_FOLDER": str(data_folder),
        "ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS": "5000",
        "ASKMESH_RETRIEVER_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "askmesh", "serve", "retriever", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while b"serves at" not in (line := await process.stderr.readline()):
            assert line, "the retriever ended before it served"
        channel = open_channel(f"unix:{socket}")
        try:
            yield process, channel
        finally:
            await channel.close()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def corpus() -> AsyncIterator[document_pb2.IngestDocumentsRequest]:
    for document_id, text in CORPUS.items():
        yield document_pb2.IngestDocumentsRequest(
            collection="docs", document=document_pb2.DocumentInput(document_id=document_id, text=text)
        )


async def ingest_until_killed(process, channel, *, after_results, after_s) -> set[str]:
    """Send everything; kill some results, and then some time, later. Returns what was acknowledged until then."""
    acknowledged: set[str] = set()
    call = document_pb2_grpc.DocumentServiceStub(channel).IngestDocuments(corpus(), timeout=TIMEOUT_S)
    killing = None
    ended = grpc.StatusCode.OK
    try:
        async for result in call:
            assert result.outcome != document_pb2.INGEST_OUTCOME_FAILED, result
            acknowledged.add(result.document_id)
            if result.outcome == document_pb2.INGEST_OUTCOME_STORED:
                after_results -= 1
            if after_results <= 0 and killing is None:
                killing = asyncio.create_task(_kill(process, after_s))
    except grpc.RpcError as error:
        ended = error.code()
    assert ended in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    if killing is not None:
        await killing
    return acknowledged


async def _kill(process, after_s):
    await asyncio.sleep(after_s)  # the point of the kill is random on purpose
    process.send_signal(signal.SIGKILL)


async def listed(channel) -> dict[str, document_pb2.Document]:
    stub = document_pb2_grpc.DocumentServiceStub(channel)
    request = document_pb2.ListDocumentsRequest(collection="docs", page_size=1_000)
    page = await stub.ListDocuments(request, timeout=TIMEOUT_S)
    assert page.total_size == len(page.documents)
    return {document.document_id: document for document in page.documents}


async def check_whole(channel, documents) -> None:
    """Each of these documents has its whole text, and all of its chunks in both legs."""
    for document in documents:
        request = document_pb2.GetDocumentRequest(
            collection="docs", document_id=document.document_id, view=document_pb2.DOCUMENT_VIEW_FULL
        )
        found = await document_pb2_grpc.DocumentServiceStub(channel).GetDocument(request, timeout=TIMEOUT_S)
        assert found.size_bytes == len(CORPUS[document.document_id].encode())
        assert "what word" in found.text
        for legs in (retriever_pb2.LEGS_DENSE, retriever_pb2.LEGS_LEXICAL):
            assert await chunks_found(channel, document.document_id, legs) == document.chunk_count


async def chunks_found(channel, document_id, legs) -> int:
    comparison = filter_pb2.Comparison(
        field="document_id", operator=filter_pb2.OPERATOR_EQ, value=filter_pb2.Value(string_value=document_id)
    )
    request = retriever_pb2.RetrieveRequest(
        collection="docs",
        query="document says part means",
        top_k=100,
        legs=legs,
        filter=filter_pb2.Filter(comparison=comparison),
    )
    response = await retriever_pb2_grpc.RetrieverServiceStub(channel).Retrieve(request, timeout=TIMEOUT_S)
    assert not response.degraded
    return len({passage.chunk_id for passage in response.passages})


@pytest.mark.timeout(600)
async def test_thirty_kills_during_an_ingest_lose_nothing_and_leave_nothing_half_visible(tmp_path):
    chance = random.Random(SEED)
    acknowledged: set[str] = set()
    before: set[str] = set()
    with socket_folder() as sockets:
        for kill in range(KILLS):
            async with serving(tmp_path / "data", sockets / "r") as (process, channel):
                if kill:
                    found = await listed(channel)
                    assert acknowledged <= found.keys() <= CORPUS.keys()
                    assert before <= found.keys()
                    await check_whole(channel, chance.sample(sorted(found.values(), key=_id), min(SAMPLE, len(found))))
                    before = set(found)
                moment = {"after_results": chance.randint(1, 9), "after_s": chance.uniform(0, 0.03)}
                acknowledged |= await ingest_until_killed(process, channel, **moment)
        async with serving(tmp_path / "data", sockets / "r") as (_, channel):
            await check_the_end(channel)


async def check_the_end(channel) -> None:
    """Sending the rest makes the store hold exactly the corpus."""
    call = document_pb2_grpc.DocumentServiceStub(channel).IngestDocuments(corpus(), timeout=TIMEOUT_S)
    assert {result.outcome async for result in call} <= {
        document_pb2.INGEST_OUTCOME_STORED,
        document_pb2.INGEST_OUTCOME_UNCHANGED,
    }
    found = await listed(channel)
    assert found.keys() == CORPUS.keys()
    await check_whole(channel, found.values())
    stub = collection_pb2_grpc.CollectionServiceStub(channel)
    whole = await stub.GetCollection(collection_pb2.GetCollectionRequest(collection="docs"), timeout=TIMEOUT_S)
    assert whole.document_count == DOCUMENTS
    assert whole.chunk_count == sum(document.chunk_count for document in found.values())


def _id(document) -> str:
    return str(document.document_id)
