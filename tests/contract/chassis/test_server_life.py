"""Starting, being found, and ending without losing anything."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from chassis import channel as channel_module
from chassis import errors, status
from chassis import server as server_module
from chassis.address import MAX_SOCKET_PATH, socket_folder
from chassis.admission import Admission, Limit
from chassis.channel import open_channel
from tests.contract.chassis.conftest import ASK_SERVICE
from tests.contract.chassis.test_deadlines_and_cancelling import Switch, within

T = 5.0
EMPTY_SETTINGS = "000000040000000000"  # an HTTP/2 server's hello
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(workshop, server):
    return health_pb2_grpc.HealthStub(await workshop.plain_channel(server))


@pytest.mark.parametrize("service", ["", ASK_SERVICE])
async def test_a_started_server_is_ready_as_a_whole_and_by_service(workshop, service):
    health = await health_of(workshop, await workshop.server())
    reply = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=T)
    assert reply.status == SERVING


async def test_health_of_an_unknown_service_is_not_found(workshop):
    health = await health_of(workshop, await workshop.server())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="no.such"), timeout=T)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_sees_readiness_change_and_its_stream_end_with_the_drain(workshop):
    server = await workshop.server()
    health = await health_of(workshop, server)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=ASK_SERVICE), timeout=T)
    assert (await watch.read()).status == SERVING
    server.set_serving(False)
    assert (await watch.read()).status == NOT_SERVING
    server.set_serving(True)
    assert (await watch.read()).status == SERVING
    started = time.monotonic()
    await server.drain()
    assert (await watch.read()).status == NOT_SERVING
    assert time.monotonic() - started < 1.0  # the watcher did not hold it up


async def test_a_drain_lets_open_calls_and_streams_end(workshop):
    go_on = asyncio.Event()

    async def ask(request):
        await go_on.wait()
        return pb.AskResponse(text="done")

    async def stream(request):
        yield pb.StreamAskResponse(sequence=1)
        await go_on.wait()
        yield pb.StreamAskResponse(sequence=2)

    server = await workshop.server(ask=ask, stream=stream)
    stub = await workshop.stub(server)
    call = stub.StreamAsk(pb.AskRequest(), timeout=T)
    unary = asyncio.ensure_future(_text(stub.Ask(pb.AskRequest(), timeout=T)))
    assert (await call.read()).sequence == 1
    drain = asyncio.create_task(server.drain())
    await asyncio.sleep(0.05)
    assert not drain.done()
    go_on.set()
    assert (await call.read()).sequence == 2
    assert not await call.read()
    assert await unary == "done"
    await drain


async def _text(call) -> str:
    reply: pb.AskResponse = await call
    return reply.text


async def test_a_draining_server_takes_no_new_calls(workshop):
    switch = Switch()
    server = await workshop.server(ask=switch.hang)
    stub = await workshop.stub(server)
    held = stub.Ask(pb.AskRequest(), timeout=T)
    await within(switch.started)
    drain = asyncio.create_task(server.drain())
    await asyncio.sleep(0.05)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(pb.AskRequest(), timeout=1.0)
    held.cancel()
    await drain
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_is_still_open_at_the_end_of_a_drain_is_told_that_the_server_shuts_down(workshop):
    switch = Switch()
    server = await workshop.server(ask=switch.hang, stream=switch.endless, drain_s=0.1)
    stub = await workshop.stub(server)
    call = stub.Ask(pb.AskRequest(), timeout=T)
    await within(switch.started)
    await server.drain()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert switch.stopped.is_set()
    assert isinstance(status.from_rpc_error(caught.value, errors.RetrieverUnavailable), errors.ShuttingDown)


async def test_draining_twice_is_draining_once(workshop):
    server = await workshop.server()
    await asyncio.gather(server.drain(), server.drain())
    await server.drain()


async def test_two_servers_cannot_share_a_port(workshop):
    server = await workshop.server()
    with pytest.raises(errors.PortInUse, match=str(server.port)):
        await workshop.server(address=f"127.0.0.1:{server.port}")


async def test_a_second_server_does_not_steal_a_unix_socket(workshop, tmp_path):
    address = f"unix:{tmp_path}/a.sock"
    await workshop.server(address=address)
    with pytest.raises(errors.PortInUse):
        await workshop.server(address=address)


async def test_a_socket_left_by_a_dead_server_is_no_obstacle(workshop, tmp_path):
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    stub = await workshop.stub(await workshop.server(address=f"unix:{path}"))
    assert (await stub.Ask(pb.AskRequest(question="hello"), timeout=T)).text == "hello"


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:http", "unix:/no/such/folder/a.sock"])
async def test_an_address_that_is_none_is_a_settings_error(workshop, address):
    with pytest.raises(errors.SettingsInvalid):
        await workshop.server(address=address)


async def test_a_socket_path_too_long_is_refused_before_it_fails_silently(workshop, tmp_path):
    folder = tmp_path / ("x" * MAX_SOCKET_PATH)
    folder.mkdir()
    with pytest.raises(errors.SettingsInvalid):
        await workshop.server(address=f"unix:{folder}/a.sock")


def test_the_socket_folder_is_ours_alone_short_enough_and_gone_afterwards(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with socket_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == tmp_path
        assert len(os.fsencode(folder / "orchestrator.sock")) <= MAX_SOCKET_PATH
    assert not folder.exists()


def test_a_runtime_folder_too_deep_for_sockets_is_passed_over(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with socket_folder() as folder:
        assert folder.parent != deep
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_the_services_and_the_error_details(workshop, version):
    channel = await workshop.plain_channel(await workshop.server())
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(timeout=T)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = {service.name for service in (await call.read()).list_services_response.service}
    symbols = [*sorted(listed), "google.rpc.ErrorInfo", "google.rpc.BadRequest", "rag.orchestrator.v1.AskRequest"]
    described = [await _describe(call, symbol) for symbol in symbols]
    await call.done_writing()
    assert {ASK_SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= listed
    assert all(described)


async def _describe(call, symbol: str) -> list[str]:
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
    files = (await call.read()).file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files]


async def test_pings_of_our_channels_are_no_reason_for_a_goaway(workshop, monkeypatch):
    """A server with gRPC's defaults answers the fourth ping with GOAWAY too_many_pings. Ten times faster than real."""
    monkeypatch.setattr(server_module, "MIN_CLIENT_PING_MS", server_module.MIN_CLIENT_PING_MS // 10)
    monkeypatch.setattr(channel_module, "KEEPALIVE_MS", channel_module.KEEPALIVE_MS // 10)
    switch = Switch()
    stub = await workshop.stub(await workshop.server(ask=switch.hang))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(pb.AskRequest(), timeout=5.5)  # five pings
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_peer_that_hangs_is_noticed_by_its_missing_pong(monkeypatch):
    monkeypatch.setattr(channel_module, "KEEPALIVE_MS", 200)
    with socket.socket() as hung:  # accepts through its backlog, says hello once, then nothing
        hung.bind(("127.0.0.1", 0))
        hung.listen()
        hung.setblocking(False)
        async with open_channel(f"127.0.0.1:{hung.getsockname()[1]}") as channel:
            call = rpc.OrchestratorServiceStub(channel).Ask(pb.AskRequest(), timeout=30, wait_for_ready=True)
            peer, _ = await asyncio.get_running_loop().sock_accept(hung)
            with peer:
                peer.send(bytes.fromhex(EMPTY_SETTINGS))
                started = time.monotonic()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - started < 10.0  # 60 s with gRPC's ping timeout


async def test_a_channel_finds_its_server_again_soon_after_a_restart(workshop, tmp_path):
    address = f"unix:{tmp_path}/a.sock"
    server = await workshop.server(address=address)
    stub = await workshop.stub(server)
    await stub.Ask(pb.AskRequest(), timeout=T)
    await server.drain()
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Ask(pb.AskRequest(), timeout=T)
    await workshop.server(address=address)
    started = time.monotonic()
    await stub.Ask(pb.AskRequest(question="again"), timeout=T, wait_for_ready=True)
    assert time.monotonic() - started < 2.0  # 4 to 5 s with gRPC's defaults


async def test_a_server_slow_to_say_hello_is_waited_for(tmp_path):
    """A stall of a fifth of a second while connecting is a busy machine, not a dead one."""
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind(f"{tmp_path}/slow.sock")
        slow.listen()
        slow.setblocking(False)
        async with open_channel(f"unix:{tmp_path}/slow.sock") as channel:
            channel.get_state(try_to_connect=True)
            peer, _ = await asyncio.get_running_loop().sock_accept(slow)
            with peer:
                await asyncio.sleep(0.2)
                peer.send(bytes.fromhex(EMPTY_SETTINGS))
                async with asyncio.timeout(T):
                    await channel.channel_ready()
                with pytest.raises(BlockingIOError):
                    slow.accept()  # it was the first attempt that succeeded


async def test_nobody_there_is_unavailable_at_once(tmp_path):
    async with open_channel(f"unix:{tmp_path}/nobody.sock") as channel:
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc.OrchestratorServiceStub(channel).Ask(pb.AskRequest(), timeout=T)
        error = status.from_rpc_error(caught.value, errors.RetrieverUnavailable)
    assert isinstance(error, errors.RetrieverUnavailable)
    assert "nobody" not in error.message
    assert time.monotonic() - started < 1.0


async def test_two_channels_are_two_connections_each_with_its_own_hundred_streams(workshop):
    held, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def ask(request):
        held.release()
        await go_on.wait()
        return pb.AskResponse()

    server = await workshop.server(ask=ask, admission=Admission(Limit(concurrency=300, queue=0)))
    first, second = await workshop.stub(server), await workshop.stub(server)
    calls = [stub.Ask(pb.AskRequest(), timeout=T) for stub in (first, second) for _ in range(100)]
    async with asyncio.timeout(T):
        for _ in calls:
            await held.acquire()
    go_on.set()
    await asyncio.gather(*(_text(call) for call in calls))


async def test_a_public_connection_holds_back_its_hundred_and_first_stream(workshop):
    held = asyncio.Semaphore(0)

    async def ask(request):
        held.release()
        await asyncio.Event().wait()

    server = await workshop.server(ask=ask, admission=Admission(Limit(concurrency=300, queue=0)))
    stub = await workshop.stub(server)
    calls = [stub.Ask(pb.AskRequest(), timeout=T) for _ in range(101)]
    async with asyncio.timeout(T):
        for _ in range(100):
            await held.acquire()
    await asyncio.sleep(0.1)
    assert held.locked()
    for call in calls:
        call.cancel()
