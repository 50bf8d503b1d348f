"""The frame as a security control: what a caller may and may not see of a failure."""

from __future__ import annotations

import asyncio
import gc
import random

import grpc
import pytest
from google.rpc import error_details_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis import context, errors, status
from chassis.auth import require
from chassis.errors import FieldViolation, InvalidRequest
from tests.contract.chassis.conftest import ASK, ASK_SERVICE

SECRET = "hunter2 /etc/passwd 10.0.0.7"
T = 5.0  # seconds; generous, nothing here takes that long


async def failure(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def detail(error, kind):
    found, sent = kind(), status.status_of(error)
    assert sent is not None, "a status with details"
    next(each for each in sent.details if each.Is(kind.DESCRIPTOR)).Unpack(found)
    return found


def everything_sent(error) -> str:
    return f"{error.details()} {error.debug_error_string()} {list(error.trailing_metadata())}"


async def raise_group(request):
    raise ExceptionGroup(SECRET, [ValueError(SECRET), KeyError(SECRET)])


async def raise_value_error(request):
    raise ValueError(SECRET)


async def raise_timeout_of_its_own(request):
    raise TimeoutError(SECRET)


async def raise_rpc_error(request):
    raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(), details=SECRET)


async def return_nonsense(request):
    return SECRET


@pytest.mark.parametrize(
    "ask", [raise_value_error, raise_group, raise_timeout_of_its_own, raise_rpc_error, return_nonsense]
)
async def test_an_uncaught_exception_is_internal_with_a_request_id_and_nothing_else(workshop, ask):
    stub = await workshop.stub(await workshop.server(ask=ask))
    error = await failure(stub.Ask(pb.AskRequest(), timeout=T, metadata=(("x-request-id", "r-1"),)))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert detail(error, error_details_pb2.RequestInfo).request_id == "r-1"
    assert detail(error, error_details_pb2.ErrorInfo).reason == "INTERNAL"
    sent = everything_sent(error)
    assert not any(word in sent for word in (*SECRET.split(), "Error:", "Traceback", "exception"))


async def test_an_exception_in_the_middle_of_a_stream_keeps_what_was_sent_and_hides_its_text(workshop):
    async def stream(request):
        yield pb.StreamAskResponse(sequence=1)
        raise ValueError(SECRET)

    stub = await workshop.stub(await workshop.server(stream=stream))
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    assert (await call.read()).sequence == 1
    error = await failure(call.read())
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in everything_sent(error)


async def test_a_typed_error_arrives_as_the_same_type_with_its_facts(workshop):
    async def ask(request):
        raise InvalidRequest(
            "2 fields are wrong",
            [FieldViolation("top_k", "1 to 100"), FieldViolation("question", "at most 4,096 characters")],
            metadata={"limit": "100"},
        )

    stub = await workshop.stub(await workshop.server(ask=ask))
    error = await failure(stub.Ask(pb.AskRequest(), timeout=T))
    rebuilt = status.from_rpc_error(error, errors.RetrieverUnavailable)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert type(rebuilt) is InvalidRequest
    assert [v.field for v in rebuilt.violations] == ["top_k", "question"]
    assert (rebuilt.message, rebuilt.metadata) == ("2 fields are wrong", {"limit": "100"})


async def test_a_task_group_s_failure_is_its_typed_one(workshop):
    async def fail():
        raise errors.CollectionNotFound("no collection of this name", metadata={"collection": "docs"})

    async def ask(request):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    stub = await workshop.stub(await workshop.server(ask=ask))
    error = await failure(stub.Ask(pb.AskRequest(), timeout=T))
    resource = detail(error, error_details_pb2.ResourceInfo)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert (resource.resource_type, resource.resource_name) == ("collection", "docs")


async def test_an_error_far_larger_than_trailing_metadata_still_arrives_typed(workshop):
    async def ask(request):
        violations = [FieldViolation(f"feld_{n}_" + "ß" * 500, "ü" * 5_000) for n in range(5_000)]
        raise InvalidRequest("ä" * 100_000, violations, metadata={f"k{n}": "ö" * 900 for n in range(300)})

    stub = await workshop.stub(await workshop.server(ask=ask))
    error = await failure(stub.Ask(pb.AskRequest(), timeout=T))
    rebuilt = status.from_rpc_error(error, errors.RetrieverUnavailable)
    assert isinstance(rebuilt, InvalidRequest)
    assert rebuilt.violations


@pytest.mark.parametrize("raw", [b"\xff\xff\xff\xff", b"\x0a\x05ab", b"\x12\x02\xff\xfe"])
async def test_malformed_bytes_are_an_invalid_argument_with_details(workshop, raw):
    channel = await workshop.plain_channel(await workshop.server())
    error = await failure(channel.unary_unary(ASK)(raw, timeout=T))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(error, error_details_pb2.ErrorInfo).reason == "MESSAGE_MALFORMED"
    assert "Error parsing" not in everything_sent(error)


async def test_random_bytes_are_a_message_or_an_invalid_argument_and_nothing_else(workshop):
    channel = await workshop.plain_channel(await workshop.server())
    noise = random.Random(7)
    calls = [
        channel.unary_unary(method)(noise.randbytes(noise.randrange(200)), timeout=T)
        for method in (ASK, "/grpc.health.v1.Health/Check")
        for _ in range(200)
    ]
    codes = {await call.code() for call in calls}
    expected = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    assert codes <= expected
    assert grpc.StatusCode.INVALID_ARGUMENT in codes


async def test_malformed_bytes_within_a_request_stream_are_an_invalid_argument(workshop):
    async def ingest(requests):
        async for _ in requests:
            pass
        yield None

    channel = await workshop.plain_channel(await workshop.ingest_server(ingest))
    call = channel.stream_stream("/rag.retriever.v1.DocumentService/IngestDocuments")(timeout=T)
    await call.write(b"\xff\xff\xff")
    error = await failure(call.read())
    assert detail(error, error_details_pb2.ErrorInfo).reason == "MESSAGE_MALFORMED"


async def test_a_servicer_that_refuses_before_it_reads_leaves_no_unread_stream_behind(workshop):
    async def ingest(requests):
        require(context.current().identity, "a role nobody has")
        yield None

    channel = await workshop.plain_channel(await workshop.ingest_server(ingest))
    call = channel.stream_stream("/rag.retriever.v1.DocumentService/IngestDocuments")(timeout=T)
    error = await failure(call.read())
    gc.collect()  # an iterator that was made and not used warns here, and warnings are errors
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/Nothing"])
async def test_no_method_answers_nonsense_with_python_s_words(workshop, method):
    channel = await workshop.plain_channel(await workshop.server())
    error = await failure(channel.unary_unary(method)(b"\xff\xff", timeout=T))
    assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}
    assert status.status_of(error) is not None


async def test_a_message_over_its_method_s_limit_is_refused_with_the_limit(workshop):
    stub = await workshop.stub(await workshop.server())
    error = await failure(stub.Ask(pb.AskRequest(question="x" * 5_000), timeout=T))
    info = detail(error, error_details_pb2.ErrorInfo)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (info.reason, info.metadata["limit_bytes"]) == ("MESSAGE_TOO_LARGE", "4096")


async def test_a_message_far_over_every_limit_is_the_same_error_to_our_clients(workshop):
    stub = await workshop.stub(await workshop.server())
    error = await failure(stub.Ask(pb.AskRequest(question="x" * 8_000_000), timeout=T))
    assert isinstance(status.from_rpc_error(error, errors.RetrieverUnavailable), errors.MessageTooLarge)


@pytest.mark.parametrize("name", [f"/{ASK_SERVICE}/Nope", "/no.such.Service/Method", f"/{ASK_SERVICE}/ask"])
async def test_a_method_nobody_has_is_method_unknown(workshop, name):
    channel = await workshop.plain_channel(await workshop.server())
    unary = await failure(channel.unary_unary(name)(b"", timeout=T))
    assert unary.code() is grpc.StatusCode.UNIMPLEMENTED
    assert detail(unary, error_details_pb2.ErrorInfo).reason == "METHOD_UNKNOWN"


async def test_a_method_the_contract_has_and_the_servicer_lacks_is_no_leak(workshop):
    channel = await workshop.plain_channel(await workshop.server())
    error = await failure(channel.unary_unary(f"/{ASK_SERVICE}/EvictAnswer")(b"", timeout=T))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "not implemented" not in everything_sent(error).lower()
