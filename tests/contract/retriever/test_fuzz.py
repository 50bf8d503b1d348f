"""Whatever bytes arrive, the answer is one of the contract's: never UNKNOWN, never INTERNAL, never Python's words.

Two kinds of messages are made: random bytes, and well-formed messages with values at and beyond every border.
"""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rag.retriever.v1 import collection_pb2, document_pb2, maintenance_pb2, retriever_pb2

from tests.contract.retriever.conftest import OWNER, running
from tests.fuzzing import NEVER, PYTHON_WORDS, check, messages

SERVICES = [
    file.services_by_name[name]
    for file, name in [
        (retriever_pb2.DESCRIPTOR, "RetrieverService"),
        (document_pb2.DESCRIPTOR, "DocumentService"),
        (collection_pb2.DESCRIPTOR, "CollectionService"),
        (maintenance_pb2.DESCRIPTOR, "MaintenanceService"),
    ]
]
METHODS = {method.name: method for service in SERVICES for method in service.methods}
HEADERS = (("authorization", f"Bearer {OWNER}"),)
EXAMPLES = 100


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """One retriever for all examples, in an event loop of its own that examples can be run in."""
    with asyncio.Runner() as runner:
        folder = tmp_path_factory.mktemp("fuzz")
        serving = running(folder, None)
        retriever = runner.run(_enter(serving))
        yield runner, retriever.channel
        runner.run(serving.__aexit__(None, None, None))


async def _enter(serving):
    retriever = await serving.__aenter__()
    await retriever.owner.put("a.txt", "The key opens the gate.")
    return retriever


async def answer(channel, method, *payloads):
    """The status a method ends with, sent these bytes."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if not method.client_streaming and method.server_streaming:
            async for _ in channel.unary_stream(path)(payloads[0], timeout=20, metadata=HEADERS):
                pass
            return None
        if not method.client_streaming:
            await channel.unary_unary(path)(payloads[0], timeout=20, metadata=HEADERS)
            return None
        call = channel.stream_stream(path)(_sent(payloads), timeout=20, metadata=HEADERS)
        async for reply in call:
            failed = document_pb2.IngestDocumentsResponse.FromString(reply).error
            assert not PYTHON_WORDS.search(failed.message), failed.message
            assert failed.code not in {code.value[0] for code in NEVER}, failed
    except grpc.RpcError as error:
        return error
    return None


async def _sent(payloads):
    for payload in payloads:
        yield payload


FUZZ = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", METHODS)
@FUZZ
@given(data=st.data())
def test_a_well_formed_message_gets_an_answer_of_the_contract(fuzzed, name, data):
    runner, channel = fuzzed
    kind = METHODS[name].input_type._concrete_class
    sent = data.draw(st.lists(messages(kind), min_size=1, max_size=4 if METHODS[name].client_streaming else 1))
    check(runner.run(answer(channel, METHODS[name], *[message.SerializeToString() for message in sent])))


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
