"""Whatever bytes arrive, the answer is one of the contract's: never UNKNOWN, never INTERNAL, never Python's words.

The real chain: what the orchestrator lets through reaches a real retriever.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.retriever.v1 import document_pb2 as dpb
from rag.retriever.v1 import document_pb2_grpc as drpc

import orchestrator.app
import retriever.app
from chassis.address import socket_folder
from chassis.channel import open_channel
from chassis.settings import load
from chassis.telemetry import Telemetry
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings
from tests.fuzzing import check, messages

EXAMPLES = 100
TIMEOUT_S = 20.0  # no time of the contract's: a shared machine stalls for seconds
METHODS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["OrchestratorService"].methods}


@asynccontextmanager
async def serving(folder):
    """A channel to an orchestrator whose retriever holds one document."""
    telemetry = Telemetry("test")
    async with AsyncExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        searching = load(
            RetrieverSettings,
            listen=f"unix:{sockets / 'r'}",
            data_folder=folder,
            embedder="none",
            retrieval_timeout_ms=5_000,
            drain_s=1,
        )
        found = await stack.enter_async_context(retriever.app.build(searching, telemetry=telemetry))
        asking = load(
            OrchestratorSettings,
            listen=f"unix:{sockets / 'o'}",
            retriever_address=found.address,
            embedder="none",
            retrieve_timeout_ms=5_000,
            drain_s=1,
        )
        asked = await stack.enter_async_context(orchestrator.app.build(asking, telemetry=telemetry))
        to_retriever, channel = open_channel(found.address), open_channel(asked.address)
        stack.push_async_callback(to_retriever.close)
        stack.push_async_callback(channel.close)
        document = dpb.DocumentInput(document_id="a.txt", text="The key opens the gate.")
        put = dpb.PutDocumentRequest(collection="docs", document=document)
        await drpc.DocumentServiceStub(to_retriever).PutDocument(put, timeout=TIMEOUT_S)
        yield channel


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """One chain for all examples, in an event loop of its own that examples can be run in."""
    with asyncio.Runner() as runner:
        chain = serving(tmp_path_factory.mktemp("fuzz"))
        channel = runner.run(chain.__aenter__())
        yield runner, channel
        runner.run(chain.__aexit__(None, None, None))


async def answer(channel, method, payload):
    """The status a method ends with, sent these bytes."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.server_streaming:
            async for _ in channel.unary_stream(path)(payload, timeout=TIMEOUT_S):
                pass
        else:
            await channel.unary_unary(path)(payload, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return error
    return None


FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", METHODS)
@FUZZ
@given(data=st.data())
def test_a_well_formed_message_gets_an_answer_of_the_contract(fuzzed, name, data):
    runner, channel = fuzzed
    message = data.draw(messages(METHODS[name].input_type._concrete_class))
    check(runner.run(answer(channel, METHODS[name], message.SerializeToString())))


@pytest.mark.parametrize("name", METHODS)
@FUZZ
@given(payload=st.binary(max_size=300))
def test_random_bytes_get_an_answer_of_the_contract(fuzzed, name, payload):
    runner, channel = fuzzed
    check(runner.run(answer(channel, METHODS[name], payload)))


@pytest.mark.parametrize("name", METHODS)
def test_a_message_cut_short_is_malformed(fuzzed, name):
    runner, channel = fuzzed
    error = runner.run(answer(channel, METHODS[name], b"\x0a\x7fdocs"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    check(error)
