"""Retriever and orchestrator that embed on a real Triton: what is stored, what is answered, what is lost without it."""

from __future__ import annotations

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh.rig.triton import EMBEDDING, running_triton
from embedding.manifest import Precision
from embedding.models import ensure_model
from tests.contract.orchestrator.test_with_the_retriever import chain
from tests.rig_servers import rigged


@pytest.fixture
async def triton(tmp_path):
    graph = (await ensure_model(Precision.FP32)).graph
    opened = running_triton(tmp_path / "triton", repository=EMBEDDING, environment={"STANDIN_GRAPH": str(graph)})
    async with rigged(lambda: opened) as server:
        yield server


async def test_what_was_embedded_on_triton_is_found_and_its_loss_leaves_words(tmp_path, monkeypatch, triton):
    for service in ("RETRIEVER", "ORCHESTRATOR"):
        monkeypatch.setenv(f"ASKMESH_{service}_EMBEDDER", "triton")
        monkeypatch.setenv(f"ASKMESH_{service}_EMBEDDER_ADDRESS", f"{triton.host}:{triton.port}")
    async with chain(tmp_path) as services:
        await services.put(30)
        whole = await services.ask()
        triton.kill()
        words_only = await services.ask(cache_policy=pb.CACHE_POLICY_BYPASS)
    assert "30 seconds" in whole.text
    assert not whole.completed.degraded
    assert whole.retrieval.sources[0].dense_rank == 1
    assert "30 seconds" in words_only.text
    assert pb.DEGRADED_REASON_EMBEDDER_UNAVAILABLE in [lost.reason for lost in words_only.completed.degraded]
