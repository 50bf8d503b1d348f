"""The reranker in process, held to the port's suite."""

from __future__ import annotations

import time

import pytest
import pytest_asyncio

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, EmbedderUnavailable
from embedding.manifest import GRAPH_FILE, Graph, ModelFiles, Precision, fingerprint
from embedding.models import ensure_model
from retriever.reranking.onnx import OnnxReranker
from tests.contract.reranking.suite import LONG, QUESTION, RerankerSuite, passages


@pytest.fixture(params=list(Precision), scope="module")
def precision(request):
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reranker(precision):
    async with OnnxReranker.opened(await ensure_model(precision, Graph.LATE_INTERACTION), precision) as opened:
        yield opened


class TestSuite(RerankerSuite):
    @pytest.fixture
    def other_fingerprints(self, precision) -> set[str]:
        others = {fingerprint(each, Graph.LATE_INTERACTION) for each in Precision if each is not precision}
        return others | {fingerprint(each) for each in Precision}


async def test_it_gives_up_long_before_the_work_would_be_done(reranker):
    many = passages([LONG] * 600)  # nine seconds of work, where nothing else runs
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await reranker.rerank(QUESTION, many, budget=Budget.of(0.05))
    assert time.monotonic() - started < 5.0


async def test_a_damaged_graph_is_not_loaded(tmp_path, precision):
    built = await ensure_model(precision, Graph.LATE_INTERACTION)
    for file in built.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / GRAPH_FILE).write_bytes(b"cut short")
    with pytest.raises(EmbedderUnavailable, match="damaged"):
        async with OnnxReranker.opened(ModelFiles(tmp_path), precision):
            pass
