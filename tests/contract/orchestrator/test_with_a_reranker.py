"""What an asker notices of the reranker: nothing of a slow one but a word about it, and no cached answer of before."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress

import grpc
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh.rig.reranker import running_reranker
from tests.contract.orchestrator.test_with_the_retriever import Chain, asking, chain, searching
from tests.rig_servers import rigged

SLOW_S = 30.0


async def test_a_slow_reranker_is_skipped_the_answer_on_time_said_so_and_not_kept(tmp_path):
    slow = running_reranker(tmp_path / "triton", environment={"STANDIN_RERANKER_PACE": str(SLOW_S)})
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(rigged(lambda: slow))
        address = f"{server.host}:{server.port}"
        made = await stack.enter_async_context(chain(tmp_path, reranker="triton", reranker_address=address))
        await made.put(30)
        for _ in range(2):
            started = time.monotonic()
            reply = await made.ask()
            assert time.monotonic() - started < SLOW_S / 3
            assert "30 seconds" in reply.text
            assert [lost.reason for lost in reply.completed.degraded] == [pb.DEGRADED_REASON_RERANK_SKIPPED]
            assert reply.started.cache.status == pb.CACHE_STATUS_MISS


async def test_an_answer_from_before_a_reranker_came_is_not_found_again(tmp_path):
    async with asking(tmp_path) as (asks, documents):
        async with searching(tmp_path) as plain:
            made = Chain(asks, documents, plain)
            await made.put(30)
            assert [await status(made) for _ in range(2)] == [pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_HIT_EXACT]
        async with searching(tmp_path, reranker="onnx"):
            assert [await status(made) for _ in range(2)] == [pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_HIT_EXACT]


async def status(made):
    """Of the next answer that lacks nothing: the first ones may find the new retriever still starting."""
    while True:
        with suppress(grpc.aio.AioRpcError):
            reply = await made.ask()
            if not reply.completed.degraded:
                return reply.started.cache.status
