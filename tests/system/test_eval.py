"""What `make eval ARGS='--search cluster'` measures on: the production path over servers that it starts for itself."""

from __future__ import annotations

import pytest

from askmesh.rig.part import RigMissing
from bench.quality.cluster import BESIDE, cluster_stack, text_of
from bench.quality.retrieval import LEGS, Asked, figures
from bench.quality.stack import embedded_stack
from bench.quality.thresholds import verdicts
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from tests.rig import missing

TEXTS = {
    "lease.txt": "A lease lasts thirty seconds, and its holder renews it every ten.",
    "purge.txt": "The purger removes dead versions once no reader can see them.",
}
QUESTIONS = {"How long does a lease last?": "lease.txt", "Who removes dead versions?": "purge.txt"}


async def asked_of(opened, model):
    """Both questions on every leg, as bench.quality.retrieval asks them."""
    async with opened(model, model.tokenizer) as stack:
        for name, text in TEXTS.items():
            await stack.put("docs", name, text)
        return [
            Asked(
                corpus="xquad",
                half=half,
                question=question,
                relevant=frozenset({name}),
                found={leg: await stack.passages("docs", question, 5, legs=legs) for leg, legs in LEGS.items()},
                by_chunk=False,
            )
            for half, (question, name) in zip(("even", "odd"), QUESTIONS.items(), strict=True)
        ]


@pytest.mark.timeout(600)  # it starts two servers
async def test_the_cluster_is_asked_the_same_questions_as_the_embedded_leaves():
    async with OnnxEmbedder.opened(await ensure_model(Precision.INT8), Precision.INT8) as model:
        try:
            found = figures(await asked_of(cluster_stack, model))
        except RigMissing as absent:
            missing(absent.name, absent.how)
        beside = figures(await asked_of(embedded_stack, model))
    assert found["xquad.whole.hybrid.ndcg10"] == beside["xquad.whole.hybrid.ndcg10"] == 1.0
    shown = text_of(found | {f"{BESIDE}.{name}": value for name, value in beside.items()})
    assert "whole hybrid          1.0000    1.0000" in shown


def test_a_cluster_that_falls_behind_the_embedded_leaves_is_a_miss():
    good = {"xquad.whole.hybrid.ndcg10": 0.98, "gap": -0.001}
    assert all(verdict.is_met for verdict in verdicts("cluster", good))
    assert not all(verdict.is_met for verdict in verdicts("cluster", good | {"gap": -0.007}))
    assert not all(verdict.is_met for verdict in verdicts("cluster", good | {"xquad.whole.hybrid.ndcg10": 0.969}))
