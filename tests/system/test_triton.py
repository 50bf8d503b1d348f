"""An installation that answers with a real Triton, over REST; tests/faults has what a caller's leaving does there."""

from __future__ import annotations

import httpx
import pytest

from askmesh.rig.triton import STANDIN_NAME
from bench.installation import start, stop, wait_for

QUESTION = {"question": "What is a snapshot of a collection?", "cachePolicy": "CACHE_POLICY_BYPASS"}


@pytest.fixture(scope="module")
def answering(tmp_path_factory, triton_server):
    made = start(
        tmp_path_factory.mktemp("triton-data"),
        environment={
            "ASKMESH_ORCHESTRATOR_GENERATOR": "triton",
            "ASKMESH_ORCHESTRATOR_TRITON_ADDRESS": f"{triton_server.host}:{triton_server.port}",
            "ASKMESH_ORCHESTRATOR_MODEL_NAME": STANDIN_NAME,
        },
    )
    wait_for(made, "Ctrl-C")
    yield made
    assert stop(made) == 0, "\n".join(made.lines)


@pytest.fixture
async def client(answering):
    async with httpx.AsyncClient(base_url=answering.url, timeout=30, trust_env=False) as opened:
        yield opened


async def test_the_answer_over_rest_is_the_models_and_cited(client):
    answer = (await client.post("/v1/collections/docs:ask", json=QUESTION)).json()
    assert answer["started"]["model"] == STANDIN_NAME
    assert answer["citations"][0]["documentId"]
    assert answer["completed"]["degraded"] == []
