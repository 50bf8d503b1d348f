"""A retriever with a reranker, over the wire: what it changes, and what callers get when it is slow, gone or absent."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from rag.retriever.v1 import retriever_pb2 as pb

from askmesh.rig.reranker import REVISION, running_reranker
from chassis.errors import EmbedderUnavailable, SettingsInvalid
from embedding.manifest import SourceFiles
from tests.contract.retriever.conftest import eventually, ids, running
from tests.rig_servers import rigged

QUESTION = "How many seconds does the lease last?"
TEXTS = {
    "lease": "The lease lasts 30 seconds.",
    "renewal": "Seconds count: many a lease was lost to a slow clock. How does it last?",
    "cats": "Cats sleep a lot.",
}
SLOW_S = 20.0
TIMEBOX_MS = 2_000  # a busy machine's legs come back well before


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory):
    async with rigged(lambda: running_reranker(tmp_path_factory.mktemp("triton"))) as opened:
        yield opened


@asynccontextmanager
async def on_triton(folder, embedder, server, **settings):
    """A retriever with that server's reranker, and three documents."""
    chosen = {
        "reranker": "triton",
        "reranker_address": f"{server.host}:{server.port}",
        "reranker_revision": REVISION,
        **settings,
    }
    async with running(folder, embedder, **chosen) as retriever:
        for name, text in TEXTS.items():
            await retriever.owner.put(name, text)
        yield retriever


def reasons(found):
    return [(each.stage, each.reason) for each in found.degraded]


SKIPPED = [("rerank", pb.DEGRADED_REASON_RERANK_SKIPPED)]


async def test_its_order_is_the_replys_and_every_passage_says_what_it_was_given(tmp_path, embedder, server):
    async with on_triton(tmp_path, embedder, server) as retriever:
        found = await retriever.owner.retrieve(QUESTION)
    assert reasons(found) == []
    assert ids(found)[0] == "lease"
    assert [passage.rerank.rank for passage in found.passages] == [1, 2, 3]
    scores = [passage.rerank.score for passage in found.passages]
    assert scores == sorted(scores, reverse=True)
    assert "rerank" in {each.stage for each in found.timings}


async def test_it_judges_no_more_than_its_candidates(tmp_path, embedder, server):
    async with on_triton(tmp_path, embedder, server, rerank_candidates=2) as retriever:
        found = await retriever.owner.retrieve(QUESTION)
    assert [passage.HasField("rerank") for passage in found.passages] == [True, True, False]


async def test_a_slow_one_is_left_at_the_timebox_and_then_not_asked_any_more(tmp_path, embedder):
    slow = running_reranker(tmp_path / "triton", environment={"STANDIN_RERANKER_PACE": str(SLOW_S)})
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(rigged(lambda: slow))
        opened = on_triton(tmp_path, embedder, server, retrieval_timeout_ms=TIMEBOX_MS, max_retrievals=20)
        retriever = await stack.enter_async_context(opened)
        started = time.monotonic()
        found = await retriever.owner.retrieve(QUESTION)
        took_s = time.monotonic() - started
        [skipped] = found.degraded
        assert (reasons(found), len(found.passages)) == (SKIPPED, 3)
        assert "fused" in skipped.effect
        assert 0 < skipped.milliseconds <= TIMEBOX_MS
        assert took_s < SLOW_S / 2
        assert not any(passage.HasField("rerank") for passage in found.passages)

        async def is_refused():
            answers = await asyncio.gather(*(retriever.owner.retrieve(QUESTION) for _ in range(12)))
            assert all(reasons(each) == SKIPPED for each in answers)
            return min(each.degraded[0].milliseconds for each in answers) < TIMEBOX_MS / 4

        await eventually(is_refused)  # by the breaker, which costs nothing of the timebox


async def test_one_that_dies_is_skipped_and_is_back_after_its_restart(tmp_path, embedder):
    mortal = running_reranker(tmp_path / "triton")
    async with rigged(lambda: mortal) as server, on_triton(tmp_path, embedder, server) as retriever:
        fused = [passage.score for passage in (await retriever.owner.retrieve(QUESTION)).passages]
        server.kill()
        skipped = await retriever.owner.retrieve(QUESTION)
        assert reasons(skipped) == SKIPPED
        assert [passage.score for passage in skipped.passages] == sorted(fused, reverse=True)
        await server.start()

        async def is_back():
            return not reasons(await retriever.owner.retrieve(QUESTION))

        await eventually(is_back)


async def test_the_one_in_process_needs_no_server(tmp_path, embedder):
    async with running(tmp_path, embedder, reranker="onnx") as retriever:
        for name, text in TEXTS.items():
            await retriever.owner.put(name, text)
        found = await retriever.owner.retrieve(QUESTION)
    assert (ids(found)[0], found.passages[0].rerank.rank, reasons(found)) == ("lease", 1, [])


async def test_the_fingerprint_of_replies_names_the_model_its_weights_and_how_many_it_judges(tmp_path, embedder):
    choices: list[dict[str, Any]] = [
        {},
        {"reranker": "onnx"},
        {"reranker": "onnx", "rerank_candidates": 8},
        {"reranker": "triton"},
        {"reranker": "triton", "reranker_revision": "other"},
    ]
    seen = []
    for settings in choices:
        async with running(tmp_path, embedder, **settings) as retriever:
            await retriever.owner.put("lease", TEXTS["lease"])
            seen.append((await retriever.owner.snapshot()).retrieval_fingerprint)
    assert len(set(seen)) == len(choices)


async def test_without_what_it_needs_every_reply_says_that_it_was_skipped(tmp_path, embedder, monkeypatch):
    def locate():
        raise EmbedderUnavailable("the weights are not installed")

    monkeypatch.setattr(SourceFiles, "locate", locate)
    async with running(tmp_path, embedder, reranker="triton") as retriever:
        await retriever.owner.put("lease", TEXTS["lease"])
        assert reasons(await retriever.owner.retrieve(QUESTION)) == SKIPPED


@pytest.mark.parametrize("content", [None, "no tokenizer"])
async def test_a_tokenizer_file_that_is_none_stops_the_start(tmp_path, embedder, content):
    file = tmp_path / "tokenizer.json"
    if content:
        file.write_text(content)
    with pytest.raises(SettingsInvalid, match=r"tokenizer\.json"):
        async with running(tmp_path, embedder, reranker="triton", reranker_tokenizer_file=file):
            pass
