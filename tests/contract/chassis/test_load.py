"""More calls than places: who is served, who is refused, and how soon."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis import context, status
from chassis.admission import Admission, Limit
from tests.contract.chassis.conftest import ASK_SERVICE
from tests.contract.chassis.test_deadlines_and_cancelling import Switch, within

T = 5.0


async def outcome(call) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_a_full_queue_refuses_at_once_with_a_time_to_retry(workshop):
    switch = Switch()
    stub = await workshop.stub(await workshop.server(ask=switch.hang, admission=Admission(Limit(1, 0))))
    held = stub.Ask(pb.AskRequest(), timeout=T)
    await within(switch.started)
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(pb.AskRequest(), timeout=T)
    details = status.status_of(caught.value)
    held.cancel()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert time.monotonic() - started < 1.0
    assert details is not None
    assert any(each.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for each in details.details)


async def test_an_overload_is_shed_within_the_deadline_and_health_stays_ok(workshop):
    async def ask(request):
        await asyncio.sleep(0.02)
        return pb.AskResponse()

    server = await workshop.server(ask=ask, admission=Admission(Limit(concurrency=2, queue=50)))
    stub = await workshop.stub(server)
    health = health_pb2_grpc.HealthStub(await workshop.plain_channel(server))
    started = time.monotonic()
    calls = [outcome(stub.Ask(pb.AskRequest(), timeout=T)) for _ in range(300)]
    burst = asyncio.gather(*calls)
    await asyncio.sleep(0)
    probe = await health.Check(health_pb2.HealthCheckRequest(service=ASK_SERVICE), timeout=T)
    codes = await burst
    assert probe.status == health_pb2.HealthCheckResponse.SERVING
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}  # nobody ran out of time
    assert codes.count(grpc.StatusCode.OK) >= 2
    assert time.monotonic() - started < T


async def test_a_call_that_cannot_end_in_time_is_refused_and_not_started(workshop):
    served: list[str] = []
    taken = asyncio.Event()

    async def ask(request):
        served.append(request.question)
        if request.question == "takes the place":
            taken.set()
        await asyncio.sleep(0.3)
        return pb.AskResponse()

    stub = await workshop.stub(await workshop.server(ask=ask, admission=Admission(Limit(concurrency=1, queue=10))))
    await stub.Ask(pb.AskRequest(question="teaches how long one takes"), timeout=T)
    first = asyncio.ensure_future(outcome(stub.Ask(pb.AskRequest(question="takes the place"), timeout=T)))
    await within(taken)
    started = time.monotonic()
    hurried = await outcome(stub.Ask(pb.AskRequest(question="hopeless"), timeout=0.4))
    assert hurried is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert time.monotonic() - started < 0.3  # before the place was free
    assert await first is grpc.StatusCode.OK
    assert "hopeless" not in served


async def test_a_waiting_call_is_served_when_a_place_is_free(workshop):
    switch, waited_s = Switch(), list[float]()

    async def ask(request):
        if request.question == "first":
            await switch.hang()
        call = context.current()
        waited_s.append(call.budget.clock() - call.arrived_at)
        return pb.AskResponse()

    server = await workshop.server(ask=ask, admission=Admission(Limit(1, 1, max_wait_s=T)))
    stub = await workshop.stub(server)
    first = stub.Ask(pb.AskRequest(question="first"), timeout=T)
    await within(switch.started)
    second = asyncio.ensure_future(outcome(stub.Ask(pb.AskRequest(question="second"), timeout=T)))
    await asyncio.sleep(0.3)
    first.cancel()
    assert await second is grpc.StatusCode.OK
    assert waited_s[0] >= 0.1  # what it waited is told to the servicer


async def test_a_waiting_call_that_is_cancelled_leaves_the_queue(workshop):
    switch, admission = Switch(), Admission(Limit(1, 1, max_wait_s=T))
    server = await workshop.server(ask=switch.hang, admission=admission)
    stub = await workshop.stub(server)
    first = stub.Ask(pb.AskRequest(), timeout=T)
    await within(switch.started)
    second = stub.Ask(pb.AskRequest(), timeout=T)
    await asyncio.sleep(0.05)
    assert (admission.in_flight, admission.waiting) == (1, 1)
    second.cancel()
    await asyncio.sleep(0.05)
    assert (admission.in_flight, admission.waiting) == (1, 0)
    first.cancel()
    await server.drain()
    assert (admission.in_flight, admission.waiting) == (0, 0)


async def test_shed_and_admitted_calls_are_counted(workshop):
    switch = Switch()
    server = await workshop.server(ask=switch.hang, admission=Admission(Limit(1, 0)))
    stub = await workshop.stub(server)
    held = stub.Ask(pb.AskRequest(), timeout=T)
    await within(switch.started)
    assert await outcome(stub.Ask(pb.AskRequest(), timeout=T)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    held.cancel()
    await server.drain()
    labels = {"grpc_service": ASK_SERVICE, "grpc_method": "Ask"}
    value = workshop.telemetry.registry.get_sample_value
    assert value("askmesh_admission_shed_total", labels) == 1
    assert value("askmesh_admission_wait_seconds_count", labels) == 1  # the one that was admitted


@pytest.mark.parametrize("is_public", [True, False])
async def test_a_burst_of_one_caller_beyond_the_streams_of_its_connection_waits_and_does_not_fail(workshop, is_public):
    admission = Admission(Limit(concurrency=1_000, queue=0))
    stub = await workshop.stub(await workshop.server(admission=admission, is_public=is_public))
    codes = await asyncio.gather(*(outcome(stub.Ask(pb.AskRequest(), timeout=T)) for _ in range(300)))
    assert set(codes) == {grpc.StatusCode.OK}
