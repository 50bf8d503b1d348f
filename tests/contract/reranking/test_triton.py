"""The reranker on a real Triton, which runs a real graph, held to the port's suite and to its own promises."""

from __future__ import annotations

import asyncio
import time

import pytest
import pytest_asyncio

from askmesh.rig.reranker import REVISION, running_reranker
from chassis.budget import Budget
from chassis.channel import open_channel
from chassis.errors import BackendUnavailable, DeadlineExceeded
from embedding.manifest import Graph, Precision, SourceFiles, fingerprint
from embedding.models import ensure_model
from retriever.reranking.onnx import OnnxReranker
from retriever.reranking.pairs import PairTokenizer
from retriever.reranking.triton import ServedModel, TritonReranker
from tests.contract.reranking.suite import ENOUGH_S, LEASE, QUESTION, TEXTS, RerankerSuite, logits, passages
from tests.rig_servers import rigged

SLOW_S = 20.0  # far longer than a busy machine takes to notice
SECRETS = ("127.0.0.1", "reranker", "tensorrt_llm", "lease")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory):
    async with rigged(lambda: running_reranker(tmp_path_factory.mktemp("triton"))) as running:
        yield running


@pytest.fixture
async def reranker(server):
    opened = TritonReranker.opened(
        f"{server.host}:{server.port}", SourceFiles.locate().tokenizer, ServedModel(revision=REVISION)
    )
    async with opened as made:
        yield made


@pytest.fixture
def tokenizer():
    return PairTokenizer(SourceFiles.locate().tokenizer)


class TestSuite(RerankerSuite):
    @pytest.fixture
    def other_fingerprints(self) -> set[str]:
        others = [ServedModel(), ServedModel(version="2", revision=REVISION), ServedModel("other", revision=REVISION)]
        in_process = {fingerprint(each, Graph.LATE_INTERACTION) for each in Precision}
        return {other.fingerprint for other in others} | in_process


async def test_its_judgements_are_those_of_the_same_graph_in_process(reranker):
    files = await ensure_model(Precision.FP32, Graph.LATE_INTERACTION)
    async with OnnxReranker.opened(files, Precision.FP32) as here:
        expected = await logits(here, QUESTION, TEXTS)
    assert await logits(reranker, QUESTION, TEXTS) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("model", [ServedModel("no_such_model"), ServedModel("tensorrt_llm"), ServedModel(version="7")])
async def test_another_model_is_no_reranker(triton_server, tokenizer, model):
    async with open_channel(f"{triton_server.host}:{triton_server.port}") as channel:
        with pytest.raises(BackendUnavailable) as caught:
            await logits(TritonReranker(channel, tokenizer, model), QUESTION, TEXTS)
    assert not [word for word in SECRETS if word in str(caught.value).removeprefix("rerank: ")]


async def test_a_triton_that_died_is_unavailable_and_back_again(tmp_path, tokenizer):
    opened = running_reranker(tmp_path)
    async with rigged(lambda: opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        mortal = TritonReranker(channel, tokenizer, ServedModel())
        before = await logits(mortal, QUESTION, TEXTS[:2])
        server.kill()
        with pytest.raises(BackendUnavailable):
            await logits(mortal, QUESTION, TEXTS[:2])
        await server.start()
        await asyncio.wait_for(channel.channel_ready(), ENOUGH_S)
        assert await logits(mortal, QUESTION, TEXTS[:2]) == pytest.approx(before, abs=1e-5)


async def test_a_slow_and_a_hung_one_are_left_at_the_deadline(tmp_path, tokenizer):
    slow = running_reranker(tmp_path, environment={"STANDIN_RERANKER_PACE": str(SLOW_S)})
    async with rigged(lambda: slow) as server, open_channel(f"{server.host}:{server.port}") as channel:
        reranker = TritonReranker(channel, tokenizer, ServedModel())
        assert await left_after(reranker, 0.2) < SLOW_S / 2
        server.pause()
        assert await left_after(reranker, 0.2) < SLOW_S / 2
        server.resume()


async def left_after(reranker: TritonReranker, seconds: float) -> float:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await reranker.rerank(QUESTION, passages([LEASE]), budget=Budget.of(seconds))
    return time.monotonic() - started
