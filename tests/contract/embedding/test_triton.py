"""The embedder on a real Triton, which runs the real graph, held to the port's suite and to its own promises."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import pytest_asyncio

from askmesh.rig.triton import EMBEDDING, running_triton
from chassis.channel import open_channel
from chassis.errors import EmbedderUnavailable
from embedding.manifest import Precision, fingerprint
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from embedding.triton import TritonEmbedder
from tests.contract.embedding.suite import TEXTS, EmbedderSuite, budget
from tests.rig_servers import rigged


async def environment() -> dict[str, str]:
    return {"STANDIN_GRAPH": str((await ensure_model(Precision.FP32)).graph)}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory):
    opened = running_triton(tmp_path_factory.mktemp("triton"), repository=EMBEDDING, environment=await environment())
    async with rigged(lambda: opened) as running:
        yield running


@pytest.fixture
async def embedder(server):
    async with TritonEmbedder.opened(f"{server.host}:{server.port}") as opened:
        yield opened


class TestSuite(EmbedderSuite):
    @pytest.fixture
    def other_fingerprints(self) -> set[str]:
        return {fingerprint(each) for each in Precision}


async def test_its_vectors_are_those_of_the_same_graph_in_process(embedder):
    async with OnnxEmbedder.opened(await ensure_model(Precision.FP32), Precision.FP32) as here:
        expected = await here.embed(TEXTS, budget=budget())
    np.testing.assert_allclose(await embedder.embed(TEXTS, budget=budget()), expected, atol=1e-4)


@pytest.mark.parametrize("served_as", ["no_such_model", "tensorrt_llm"])
async def test_another_model_is_no_embedder(triton_server, embedder, served_as):
    async with open_channel(f"{triton_server.host}:{triton_server.port}") as channel:
        wrong = TritonEmbedder(channel, embedder.tokenizer, served_as=served_as)
        with pytest.raises(EmbedderUnavailable) as caught:
            await wrong.embed(TEXTS, budget=budget())
    assert not [word for word in ("127.0.0.1", served_as, "password") if word in str(caught.value)]


async def test_a_triton_that_died_is_unavailable_and_back_again(tmp_path, embedder):
    opened = running_triton(tmp_path, repository=EMBEDDING, environment=await environment())
    async with rigged(lambda: opened) as server, open_channel(f"{server.host}:{server.port}") as channel:
        mortal = TritonEmbedder(channel, embedder.tokenizer)
        before = await mortal.embed(TEXTS[:1], budget=budget())
        server.kill()
        with pytest.raises(EmbedderUnavailable):
            await mortal.embed(TEXTS[:1], budget=budget())
        await server.start()
        await asyncio.wait_for(channel.channel_ready(), 10)
        np.testing.assert_allclose(await mortal.embed(TEXTS[:1], budget=budget()), before, atol=1e-5)
