"""A Triton that serves a reranking model which runs on this machine: late interaction over the packaged weights.

It stands where a cross-encoder stands on a GPU, with the same tensors; embedding/late_interaction.py says what it is
not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from askmesh.rig.part import ROOT
from askmesh.rig.process import Server
from askmesh.rig.triton import running_triton
from embedding.manifest import Graph, Precision, fingerprint
from embedding.models import ensure_model

RERANKING = ROOT / "deploy" / "triton" / "standin" / "reranking"
REVISION = fingerprint(Precision.FP32, Graph.LATE_INTERACTION)
# Two cores judge a pair of 200 tokens in some 15 ms: what fits into a timebox of 250 ms beside the two legs.
CANDIDATES = 8


@asynccontextmanager
async def running_reranker(folder: Path, *, environment: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """The server, its model built first where it is not.

    Args:
        environment: For the model: STANDIN_RERANKER_PACE makes it slow.
    Raises:
        RigMissing, RigFailed: as running_triton.  EmbedderUnavailable: the weights are not installed.
    """
    graph = (await ensure_model(Precision.FP32, Graph.LATE_INTERACTION)).graph
    seen = {"STANDIN_RERANKER": str(graph), **(environment or {})}
    async with running_triton(folder, repository=RERANKING, environment=seen) as server:
        yield server
