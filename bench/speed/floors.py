"""The floors: what the bare parts cost on this machine in this run. Ratios to them travel, times do not."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bench.speed.sample import Sample, measure
from chassis.budget import Budget
from embedding.ports import Embedder


async def echo(count: int) -> Sample:
    """An empty unary call over a Unix socket: grpc.aio's own cost, without any of our interceptors."""
    with tempfile.TemporaryDirectory() as folder:
        server = grpc.aio.server()
        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        address = f"unix:{Path(folder) / 'echo'}"
        server.add_insecure_port(address)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)

                async def call(_: int) -> None:
                    await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)

                return await measure("floor: empty gRPC echo", call, count=count)
        finally:
            await server.stop(0)


async def embed(embedder: Embedder, questions: Sequence[str]) -> Sample:
    """One question through the embedder alone."""

    async def call(index: int) -> None:
        await embedder.embed([questions[index]], budget=Budget.of(5))

    return await measure("floor: bare embed", call, count=len(questions))
