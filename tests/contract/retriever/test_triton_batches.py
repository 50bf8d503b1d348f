"""Ingesting with a real Triton and the real model: chunks of several documents share its runs, in bounded numbers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest_asyncio
from rag.retriever.v1 import document_pb2 as pb
from tritonclient.grpc import service_pb2 as triton_pb
from tritonclient.grpc import service_pb2_grpc as triton_rpc

from askmesh.rig.triton import EMBEDDING, running_triton
from chassis.channel import open_channel
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.triton import BATCH, SENDERS, TritonEmbedder
from retriever.app import TRITON_CALLS
from tests.contract.embedding.suite import budget
from tests.contract.retriever.conftest import document, ids, running
from tests.rig_servers import rigged

DOCUMENTS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def triton(tmp_path_factory):
    graph = str((await ensure_model(Precision.FP32)).graph)
    opened = running_triton(
        tmp_path_factory.mktemp("triton"), repository=EMBEDDING, environment={"STANDIN_GRAPH": graph}
    )
    async with rigged(lambda: opened) as server:
        yield server


async def statistics(server):
    """What Triton counted itself: (requests, texts, runs of the model)."""
    async with open_channel(f"{server.host}:{server.port}") as channel:
        stub = triton_rpc.GRPCInferenceServiceStub(channel)
        reply = await stub.ModelStatistics(triton_pb.ModelStatisticsRequest(name="minilm"), timeout=30)
    (found,) = reply.model_stats
    return np.array([found.inference_stats.success.count, found.inference_count, found.execution_count])


async def test_chunks_of_several_documents_are_embedded_in_one_run(tmp_path, triton):
    address = f"{triton.host}:{triton.port}"
    async with TritonEmbedder.opened(address) as embedder:
        before = await statistics(triton)
        async with running(tmp_path, embedder, embedder="triton", embedder_address=address) as opened:
            texts = [f"Page {number} says what word{number} means and nothing else." for number in range(DOCUMENTS)]
            sent = [document(f"d{number}", text) for number, text in enumerate(texts)]
            results = await opened.owner.ingest(*sent)
            assert {result.outcome for result in results} == {pb.INGEST_OUTCOME_STORED}
            requests, embedded, runs = await statistics(triton) - before
            assert ids(await opened.owner.retrieve("what word7 means"))[0] == "d7"
            assert (await opened.owner.collection()).embedder_fingerprint == embedder.fingerprint
    assert embedded == DOCUMENTS
    assert requests == DOCUMENTS  # one short document each
    assert runs < 0.8 * requests, f"{runs} runs for {requests} requests: nothing was joined"


async def test_a_call_sends_full_batches_and_few_at_once(triton):
    texts = [f"sentence number {number}" for number in range(BATCH * 6)]
    async with TritonEmbedder.opened(f"{triton.host}:{triton.port}") as embedder:
        stub, at_once = embedder._stub, [0, 0]

        class Counting:
            async def ModelInfer(self, request, timeout):  # noqa: N802  # Triton's name
                at_once[0] += 1
                at_once[1] = max(at_once)
                try:
                    return await stub.ModelInfer(request, timeout=timeout)
                finally:
                    at_once[0] -= 1

        before = await statistics(triton)
        embedder._stub = Counting()
        vectors = await embedder.embed(texts, budget=budget())
        requests, embedded, _ = await statistics(triton) - before
        embedder._stub = stub
        assert (requests, embedded) == (6, len(texts))
        assert 1 < at_once[1] <= SENDERS
        alone = await embedder.embed([texts[100]], budget=budget())
        np.testing.assert_allclose(vectors[100], alone[0], atol=1e-5)


async def test_many_writers_wait_here_and_not_at_the_model_server(tmp_path, triton):
    """Back-pressure: as many calls as are allowed, however many documents are under way."""
    address = f"{triton.host}:{triton.port}"
    async with TritonEmbedder.opened(address) as embedder:
        at_once = [0, 0]
        embed = embedder.embed

        async def counted(texts, *, budget):
            at_once[0] += 1
            at_once[1] = max(at_once)
            try:
                return await embed(texts, budget=budget)
            finally:
                at_once[0] -= 1

        embedder.embed = counted  # type: ignore[method-assign]  # the same, counted
        async with running(tmp_path, embedder, embedder="triton", embedder_address=address) as opened:
            sent = [
                [document(f"d{stream}-{n}", f"Page {n} of stream {stream}.") for n in range(20)] for stream in range(3)
            ]
            await asyncio.gather(*(opened.owner.ingest(*documents) for documents in sent))
    assert at_once[1] == TRITON_CALLS
