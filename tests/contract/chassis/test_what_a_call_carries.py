"""Ids, credentials, variant and trace: in, through, and back."""

from __future__ import annotations

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis import context
from chassis.errors import CredentialsMissing
from chassis.identity import LOCAL
from chassis.telemetry import current_trace_id
from tests.contract.chassis.conftest import ASK_SERVICE

T = 5.0
METADATA = (("x-request-id", "ask-7"), ("authorization", "Bearer abc"), ("x-askmesh-variant", "v2"))


async def test_a_well_formed_request_id_comes_back_with_a_reply(workshop):
    stub = await workshop.stub(await workshop.server())
    call = stub.Ask(pb.AskRequest(), timeout=T, metadata=METADATA)
    await call
    assert (await call.trailing_metadata())["x-request-id"] == "ask-7"


async def test_a_stream_s_request_id_comes_before_its_first_message(workshop):
    async def stream(request):
        yield pb.StreamAskResponse(sequence=1)

    stub = await workshop.stub(await workshop.server(stream=stream))
    call = stub.StreamAsk(pb.AskRequest(), timeout=T, metadata=METADATA)
    assert (await call.initial_metadata())["x-request-id"] == "ask-7"
    assert [event.sequence async for event in call] == [1]


@pytest.mark.parametrize("offered", ["x" * 65, "a b", "a/b", ""])
async def test_a_malformed_request_id_is_replaced(workshop, offered):
    stub = await workshop.stub(await workshop.server())
    call = stub.Ask(pb.AskRequest(), timeout=T, metadata=(("x-request-id", offered),))
    await call
    made = (await call.trailing_metadata())["x-request-id"]
    assert made != offered
    assert len(made) == 32


async def test_the_next_service_gets_id_credentials_variant_and_trace(workshop):
    seen: list[tuple[context.CallContext, str]] = []

    async def last(request):
        seen.append((context.current(), current_trace_id()))
        return pb.AskResponse()

    inner = await workshop.stub(await workshop.server(ask=last), telemetry=workshop.telemetry)

    async def first(request):
        seen.append((context.current(), current_trace_id()))
        return await inner.Ask(request, timeout=T)

    stub = await workshop.stub(await workshop.server(ask=first), telemetry=workshop.telemetry)
    await stub.Ask(pb.AskRequest(), timeout=T, metadata=METADATA)
    (outer, outer_trace), (relayed, trace) = seen
    assert (relayed.request_id, relayed.credentials, relayed.variant) == ("ask-7", "Bearer abc", "v2")
    assert (outer.request_id, outer.credentials, outer.variant) == ("ask-7", "Bearer abc", "v2")
    assert trace == outer_trace != ""


async def test_a_server_that_is_not_ours_gets_the_variant_and_never_the_callers_credentials(workshop):
    seen: list[context.CallContext] = []

    async def last(request):
        seen.append(context.current())
        return pb.AskResponse()

    inner = await workshop.stub(await workshop.server(ask=last), relays_caller=False)

    async def first(request):
        return await inner.Ask(request, timeout=T)

    stub = await workshop.stub(await workshop.server(ask=first))
    await stub.Ask(pb.AskRequest(), timeout=T, metadata=METADATA)
    assert [(each.credentials, each.variant) for each in seen] == [("", "v2")]


async def test_one_call_through_two_services_is_one_connected_trace(workshop):
    inner = await workshop.stub(await workshop.server(), telemetry=workshop.telemetry)

    async def first(request):
        return await inner.Ask(request, timeout=T)

    outer = await workshop.server(ask=first)
    stub = await workshop.stub(outer, telemetry=workshop.telemetry)
    await stub.Ask(pb.AskRequest(), timeout=T)
    await outer.drain()
    spans = {span.context.span_id: span for span in workshop.exporter.get_finished_spans()}
    roots = [span for span in spans.values() if span.parent is None]
    assert len(spans) == 4  # client and server, twice
    assert len(roots) == 1
    assert all(span.parent.span_id in spans for span in spans.values() if span.parent is not None)


async def test_a_failed_call_s_span_has_its_reason_and_no_exception_text(workshop):
    async def ask(request):
        raise ValueError("hunter2")

    server = await workshop.server(ask=ask)
    stub = await workshop.stub(server)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Ask(pb.AskRequest(), timeout=T, metadata=METADATA)
    await server.drain()
    (span,) = workshop.exporter.get_finished_spans()
    assert span.attributes["askmesh.error.reason"] == "INTERNAL"
    assert span.attributes["rpc.grpc.status_code"] == 13
    assert (span.attributes["askmesh.request_id"], span.attributes["askmesh.variant"]) == ("ask-7", "v2")
    assert "hunter2" not in span.to_json()


async def test_without_telemetry_the_trace_of_the_caller_still_passes_through(workshop):
    seen: list[str] = []

    async def ask(request):
        seen.append(current_trace_id())
        return pb.AskResponse()

    stub = await workshop.stub(await workshop.server(ask=ask))
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await stub.Ask(pb.AskRequest(), timeout=T, metadata=(("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"),))
    assert seen == [trace_id]


async def test_calls_are_counted_by_method_and_code_and_unknown_methods_make_no_labels(workshop):
    server = await workshop.server()
    stub = await workshop.stub(server)
    await stub.Ask(pb.AskRequest(), timeout=T)
    channel = await workshop.plain_channel(server)
    for name in ("/a.B/C", "/d.E/F"):
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(name)(b"", timeout=T)
    await server.drain()  # a caller has its status a moment before the server has counted it
    value = workshop.telemetry.registry.get_sample_value
    handled = "grpc_server_handled_total"
    ask = {"grpc_service": ASK_SERVICE, "grpc_method": "Ask"}
    unknown = {"grpc_service": "unknown", "grpc_method": "unknown"}
    assert value(handled, ask | {"grpc_code": "OK"}) == 1
    assert value(handled, unknown | {"grpc_code": "UNIMPLEMENTED"}) == 2
    assert value("grpc_server_handling_seconds_count", ask) == 1
    assert value("grpc_server_in_flight", ask) == 0


async def test_a_cancelled_stream_is_counted_and_its_span_ends_on_both_sides(workshop):
    async def stream(request):
        while True:
            yield pb.StreamAskResponse(sequence=1)

    stub = await workshop.stub(await workshop.server(stream=stream), telemetry=workshop.telemetry)
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    await call.read()
    call.cancel()
    await call.code()
    labels = {"grpc_service": ASK_SERVICE, "grpc_method": "StreamAsk", "grpc_code": "CANCELLED"}
    assert workshop.telemetry.registry.get_sample_value("grpc_client_handled_total", labels) == 1
    assert next(span.kind.name for span in workshop.exporter.get_finished_spans()) == "CLIENT"


async def test_the_identity_is_the_authenticator_s_word(workshop):
    class Closed:
        def authenticate(self, metadata):
            if metadata.get("authorization") != "Bearer abc":
                raise CredentialsMissing("send credentials")
            return LOCAL

    async def ask(request):
        return pb.AskResponse(text=context.current().identity.tenant)

    stub = await workshop.stub(await workshop.server(ask=ask, authenticator=Closed()))
    assert (await stub.Ask(pb.AskRequest(), timeout=T, metadata=METADATA)).text == "local"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(pb.AskRequest(), timeout=T)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_outside_of_a_call_there_is_no_context():
    with pytest.raises(LookupError):
        context.current()
