"""Whatever bytes arrive, the answer is one of the contract's: never UNKNOWN, never INTERNAL, never Python's words.

Two kinds of messages are made: random bytes, and well-formed messages with values at and beyond every border.
"""

from __future__ import annotations

import asyncio
import re

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rag.retriever.v1 import collection_pb2, document_pb2, retriever_pb2

from tests.contract.retriever.conftest import OWNER, running

SERVICES = [
    file.services_by_name[name]
    for file, name in [
        (retriever_pb2.DESCRIPTOR, "RetrieverService"),
        (document_pb2.DESCRIPTOR, "DocumentService"),
        (collection_pb2.DESCRIPTOR, "CollectionService"),
    ]
]
METHODS = {method.name: method for service in SERVICES for method in service.methods}
HEADERS = (("authorization", f"Bearer {OWNER}"),)
EXAMPLES = 100
MAX_DEPTH = 4
NEVER = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
PYTHON_WORDS = re.compile(r"(?i)Traceback|Error\(|Exception|object at 0x|NoneType|\.py\b|sqlite|self\.|<class")
PLAUSIBLE = {"collection": "docs", "query": "the key", "document_id": "a.txt"}  # past the first checks

TEXTS = st.one_of(
    st.sampled_from(
        ["docs", "a.txt", "year", "", " ", "*", "..", "a/b", "\0", "\u202e", "x" * 600, "é" * 3_000, "'; --"]
    ),
    st.text(max_size=40),
)
INTEGERS = st.one_of(st.sampled_from([0, 1, -1, 5, 100, 101, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))
LONGS = st.one_of(INTEGERS, st.sampled_from([2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
FLOATS = st.floats(width=32)
SCALARS = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=200),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: INTEGERS,
    FieldDescriptor.TYPE_INT64: LONGS,
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: FLOATS,
    FieldDescriptor.TYPE_ENUM: INTEGERS,
}


@st.composite
def messages(draw, kind, depth=MAX_DEPTH):
    """A message of this kind with any of its fields set to anything their types allow."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if draw(st.integers(0, 2)):
            _fill(draw, message, field, depth)
        if field.name in PLAUSIBLE and draw(st.booleans()):
            setattr(message, field.name, PLAUSIBLE[field.name])
    return message


def _fill(draw, message, field, depth):
    if field.message_type is None:
        values = SCALARS[field.type]
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=4)))
        else:
            setattr(message, field.name, draw(values))
    elif depth:
        _fill_message(draw, message, field, depth - 1)


def _fill_message(draw, message, field, depth):
    kind = field.message_type
    target = getattr(message, field.name)
    if kind.GetOptions().map_entry:
        for key in draw(st.lists(TEXTS, max_size=3)):
            inner = kind.fields_by_name["value"].message_type._concrete_class
            target[key].CopyFrom(draw(messages(inner, depth)))
    elif field.is_repeated:
        target.extend(draw(st.lists(messages(kind._concrete_class, depth), max_size=3)))
    else:
        target.CopyFrom(draw(messages(kind._concrete_class, depth)))


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


def check(error):
    if error is None:
        return
    assert error.code() not in NEVER, error.details()
    assert not PYTHON_WORDS.search(error.details()), error.details()
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details), "every refusal has a reason"
    assert (info.domain, bool(info.reason)) == ("askmesh", True)


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
