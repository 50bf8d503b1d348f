"""A process from its start to SIGTERM, as an operator sees it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from chassis.channel import open_channel

ROOT = Path(__file__).parents[3]

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from chassis import lifecycle
from chassis.admission import Admission, Limit
from chassis.auth import LocalAuthenticator
from chassis.server import ServiceBinding, serve
from chassis.telemetry import Telemetry
from rag.orchestrator.v1 import orchestrator_pb2 as pb, orchestrator_pb2_grpc as rpc

class Asking(rpc.OrchestratorServiceServicer):
    async def Ask(self, request, context):
        print("asked", flush=True)
        await asyncio.sleep(float(request.question))
        return pb.AskResponse(text="done")

@asynccontextmanager
async def build():
    name = "rag.orchestrator.v1.OrchestratorService"
    async with serve(
        address=sys.argv[1],
        bindings=[ServiceBinding(name, rpc.add_OrchestratorServiceServicer_to_server, Asking())],
        authenticator=LocalAuthenticator(),
        admission=Admission(Limit(8, 8)),
        telemetry=Telemetry("test"),
        drain_s=30.0,
    ) as server:
        print("ready", flush=True)
        yield server
    print("closed", flush=True)

sys.exit(lifecycle.run(build))
"""


@pytest.fixture
async def start(tmp_path):
    started: list[asyncio.subprocess.Process] = []

    async def begin(address: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, address,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "PATH": ""},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(20.0):
        assert (await process.stdout.readline()).decode().strip() == word


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_open_call_end_then_closes_and_exits_0(start, tmp_path, number):
    process = await start(f"unix:{tmp_path}/a.sock")
    await said(process, "ready")
    async with open_channel(f"unix:{tmp_path}/a.sock") as channel:
        call = rpc.OrchestratorServiceStub(channel).Ask(pb.AskRequest(question="0.3"), timeout=20.0)
        await said(process, "asked")
        process.send_signal(number)
        assert (await call).text == "done"
    await said(process, "closed")
    assert await process.wait() == 0


async def test_a_second_signal_does_not_wait_for_the_drain(start, tmp_path):
    process = await start(f"unix:{tmp_path}/a.sock")
    await said(process, "ready")
    async with open_channel(f"unix:{tmp_path}/a.sock") as channel:
        call = rpc.OrchestratorServiceStub(channel).Ask(pb.AskRequest(question="25"), timeout=20.0)
        await said(process, "asked")
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5.0):
            _, error = await process.communicate()
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert process.returncode == 1
    assert b"Traceback" not in error


async def test_a_taken_address_is_one_line_and_exit_2(start, tmp_path):
    first = await start(f"unix:{tmp_path}/a.sock")
    await said(first, "ready")
    second = await start(f"unix:{tmp_path}/a.sock")
    _, error = await second.communicate()
    assert second.returncode == 2
    assert error.decode().startswith("PORT_IN_USE: ")
    assert len(error.decode().splitlines()) == 1
