"""Time and leaving: how both travel through services."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis import context, errors, interceptors, status
from chassis.budget import HOP_RESERVE_S, Budget
from chassis.channel import TimeoutMissing
from chassis.identity import LOCAL
from tests.contract.chassis.conftest import ASK

T = 5.0
ROUNDING_S = 0.001  # gRPC sends what is left in whole milliseconds, rounded up, when it is less than a second


class Switch:
    """Says that a servicer got somewhere."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()

    async def hang(self, request=None):
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()

    async def endless(self, request):
        self.started.set()
        try:
            while True:
                yield pb.StreamAskResponse(sequence=1)
                await asyncio.sleep(0.001)
        finally:
            self.stopped.set()


async def within(event: asyncio.Event, seconds: float = T) -> None:
    async with asyncio.timeout(seconds):
        await event.wait()


async def test_a_deadline_passes_on_across_two_hops_less_a_reserve_each(workshop):
    left: list[float] = []

    async def last(request):
        left.append(context.current().budget.remaining_s())
        return pb.AskResponse()

    last_stub = await workshop.stub(await workshop.server(ask=last))

    async def middle(request):
        left.append(context.current().budget.remaining_s())
        return await last_stub.Ask(request, timeout=60.0)

    middle_stub = await workshop.stub(await workshop.server(ask=middle))

    async def first(request):
        left.append(context.current().budget.remaining_s())
        return await middle_stub.Ask(request, timeout=60.0)

    stub = await workshop.stub(await workshop.server(ask=first))
    await stub.Ask(pb.AskRequest(), timeout=0.95)
    assert left[0] <= 0.95 + ROUNDING_S
    assert left[1] <= left[0] - HOP_RESERVE_S + ROUNDING_S
    assert left[2] <= left[1] - HOP_RESERVE_S + ROUNDING_S
    assert left[2] > 0.0


async def test_a_shorter_timeout_of_the_caller_s_own_is_kept(workshop):
    seen: list[float] = []

    async def ask(request):
        seen.append(context.current().budget.remaining_s())
        return pb.AskResponse()

    stub = await workshop.stub(await workshop.server(ask=ask))
    call = context.CallContext("r", LOCAL, "", "", Budget.of(20.0))
    with context.use(call):
        await stub.Ask(pb.AskRequest(), timeout=0.5)
    assert 0.0 < seen[0] <= 0.5 + ROUNDING_S


async def test_a_call_is_not_begun_when_the_budget_is_spent(workshop):
    stub = await workshop.stub(await workshop.server())
    with context.use(context.CallContext("r", LOCAL, "", "", Budget.of(0.0))), pytest.raises(errors.DeadlineExceeded):
        stub.Ask(pb.AskRequest(), timeout=T)


@pytest.mark.parametrize("method", ["Ask", "StreamAsk"])
async def test_a_call_without_a_timeout_is_refused_before_anything_is_sent(workshop, method):
    stub = await workshop.stub(await workshop.server())
    with pytest.raises(TimeoutMissing):
        getattr(stub, method)(pb.AskRequest())


async def test_a_caller_without_a_deadline_gets_the_default_budget(workshop):
    async def ask(request):
        return pb.AskResponse(text=f"{context.current().budget.remaining_s():.0f}")

    channel = await workshop.plain_channel(await workshop.server(ask=ask))
    reply = await channel.unary_unary(ASK)(b"")
    assert pb.AskResponse.FromString(reply).text == "30"


async def test_a_deadline_far_away_is_capped(workshop):
    async def ask(request):
        return pb.AskResponse(text=f"{context.current().budget.remaining_s():.0f}")

    stub = await workshop.stub(await workshop.server(ask=ask))
    assert (await stub.Ask(pb.AskRequest(), timeout=100_000.0)).text == "600"


@pytest.mark.parametrize("timeout", [None, 10_000.0])
async def test_a_request_stream_may_last_for_hours(workshop, timeout):
    left: list[float] = []

    async def ingest(requests):
        left.append(context.current().budget.remaining_s())
        async for _ in requests:
            yield None

    channel = await workshop.plain_channel(await workshop.ingest_server(ingest))
    call = channel.stream_stream("/rag.retriever.v1.DocumentService/IngestDocuments")(timeout=timeout)
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK
    assert left[0] > 3_600.0


async def test_a_servicer_that_overstays_the_caller_s_deadline_is_stopped(workshop):
    switch = Switch()
    stub = await workshop.stub(await workshop.server(ask=switch.hang))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(pb.AskRequest(), timeout=0.2)
    await within(switch.stopped)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_servicer_that_overstays_the_default_budget_is_stopped_with_a_typed_status(workshop, monkeypatch):
    monkeypatch.setattr(interceptors, "DEFAULT_BUDGET_S", 0.1)
    switch = Switch()
    channel = await workshop.plain_channel(await workshop.server(ask=switch.hang))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(ASK)(b"")
    assert switch.stopped.is_set()
    error = status.from_rpc_error(caught.value, errors.RetrieverUnavailable)
    assert isinstance(error, errors.DeadlineExceeded)
    assert status.status_of(caught.value) is not None  # the server's own word, not the client's timer


async def test_cancelling_a_unary_call_cancels_its_servicer(workshop):
    switch = Switch()
    stub = await workshop.stub(await workshop.server(ask=switch.hang), telemetry=workshop.telemetry)
    call = stub.Ask(pb.AskRequest(), timeout=T)
    await within(switch.started)
    call.cancel()
    await within(switch.stopped)
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_cancelling_the_waiting_task_cancels_the_servicer(workshop):
    switch = Switch()
    stub = await workshop.stub(await workshop.server(ask=switch.hang), telemetry=workshop.telemetry)

    async def ask():
        await stub.Ask(pb.AskRequest(), timeout=T)

    task = asyncio.create_task(ask())
    await within(switch.started)
    task.cancel()
    await within(switch.stopped)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("reads_first", [True, False])
async def test_cancelling_a_stream_closes_the_servicer_s_generator(workshop, reads_first):
    switch = Switch()
    stub = await workshop.stub(await workshop.server(stream=switch.endless), telemetry=workshop.telemetry)
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    await (call.read() if reads_first else within(switch.started))
    call.cancel()
    await within(switch.stopped)


async def test_a_stream_cancelled_before_it_is_sent_ends(workshop):
    switch = Switch()
    stub = await workshop.stub(await workshop.server(stream=switch.endless), telemetry=workshop.telemetry)
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    assert call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_cancelling_passes_through_a_hop(workshop):
    switch = Switch()
    inner = await workshop.stub(await workshop.server(stream=switch.endless))

    async def relay(request):
        call = inner.StreamAsk(request, timeout=T)
        try:
            async for event in call:
                yield event
        finally:
            call.cancel()

    stub = await workshop.stub(await workshop.server(stream=relay))
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    await call.read()
    call.cancel()
    await within(switch.stopped)


async def test_a_reader_too_slow_to_take_the_stream_can_still_cancel_it(workshop):
    stopped = asyncio.Event()

    async def flood(request):
        try:
            while True:
                delta = pb.AnswerDelta(text="x" * 100_000)
                yield pb.StreamAskResponse(sequence=1, answer_delta=delta)
        finally:
            stopped.set()

    stub = await workshop.stub(await workshop.server(stream=flood))
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    await call.read()  # then none: flow control stops the servicer within a write
    call.cancel()
    await within(stopped)


async def test_work_cancelled_inside_the_server_is_a_status_and_not_silence(workshop):
    async def ask(request):
        flight = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(flight.cancel)
        await flight

    stub = await workshop.stub(await workshop.server(ask=ask))
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(pb.AskRequest(), timeout=T)
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - started < T / 2
