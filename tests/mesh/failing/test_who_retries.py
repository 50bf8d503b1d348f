"""One owner of retries per hop: what arrives at a callee that fails is what istio/base says, and no more."""

from __future__ import annotations

import asyncio
import http.client
from contextlib import asynccontextmanager, closing, suppress

import grpc
import pytest
import pytest_asyncio
from rag.retriever.v1 import retriever_pb2
from rag.retriever.v1 import retriever_pb2_grpc as retriever_rpc

from askmesh.rig.fleet import ADDRESSES, DOMAIN
from askmesh.rig.process import POLL_S
from chassis.channel import open_channel
from orchestrator.retrieval.grpc import HEDGE_HEADER
from tests.mesh.calls import ENOUGH_S, served
from tests.mesh.conftest import KNOWN_S
from tests.mesh.failing.conftest import PER_SECOND
from tests.mesh.failing.faults import attempts, fail, told_by
from tests.mesh.load import ask, under_load

ASK = "rag.orchestrator.v1.OrchestratorService"
SEARCH = "rag.retriever.v1.RetrieverService"
DOCUMENTS = "rag.retriever.v1.DocumentService"
COLLECTIONS = "rag.retriever.v1.CollectionService"
# By caller, callee, method and header: how often a call is tried that always fails.
TRIES = [
    ("client", "orchestrator", f"/{ASK}/Ask", None, 1),
    ("client", "orchestrator", f"/{ASK}/StreamAsk", None, 1),
    ("gateway", "orchestrator", f"/{ASK}/Ask", None, 1),
    ("gateway", "orchestrator", f"/{ASK}/StreamAsk", None, 1),
    ("orchestrator", "retriever", f"/{SEARCH}/Retrieve", None, 2),
    ("orchestrator", "retriever", f"/{SEARCH}/Retrieve", HEDGE_HEADER, 1),
    ("orchestrator", "retriever", f"/{SEARCH}/GetSnapshot", None, 2),
    ("gateway", "retriever", f"/{SEARCH}/Retrieve", None, 2),
    ("gateway", "retriever", f"/{DOCUMENTS}/PutDocument", None, 1),
    ("gateway", "retriever", f"/{COLLECTIONS}/DeleteCollection", None, 1),
]
AT_ONCE = 70
BUDGETED_S = 3.0


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _healed(trio):
    await trio.healed()
    yield
    await fail(trio.others_too, 0)


def caller_of(trio, account):
    return {
        "client": trio.system.client,
        "gateway": trio.system.gateway.member,
        "orchestrator": trio.orchestrator.member,
    }[account]


def callees(trio, role):
    return [replica for replica in trio.others_too if replica.member.workload.labels["app"] == role]


async def code_of(channel, method, header):
    call = channel.unary_stream(method)(b"", timeout=ENOUGH_S, metadata=(header,) if header else ())
    with suppress(grpc.RpcError):
        await call.read()
    return await call.code()


@pytest.mark.parametrize(("account", "role", "method", "header", "tries"), TRIES)
async def test_a_call_that_fails_is_tried_as_often_as_the_policy_says(trio, account, role, method, header, tries):
    failing = callees(trio, role)
    await fail(failing, 100)
    before = await attempts(failing)
    async with open_channel(ADDRESSES[role], proxy=caller_of(trio, account).outbound) as channel:
        assert await code_of(channel, method, header) is grpc.StatusCode.UNAVAILABLE
    assert await attempts(failing) - before == tries


async def test_an_ask_over_rest_is_tried_once(trio):
    await fail([trio.system.gateway], 100)
    before = await attempts([trio.system.gateway])
    assert await asyncio.to_thread(posted, trio.system.client.outbound) == http.client.SERVICE_UNAVAILABLE
    assert await attempts([trio.system.gateway]) - before == 1


def posted(host):
    with closing(http.client.HTTPConnection(host, 8080, timeout=ENOUGH_S)) as connection:
        connection.request("POST", "/v1/collections/docs:ask", "{}", {"Host": f"gateway.{DOMAIN}:8080"})
        return connection.getresponse().status


async def test_what_a_retriever_itself_calls_unavailable_is_tried_once_more(trio, record_property):
    """The other tests' faults are a sidecar's; here the process says so, in its own words. (Not of a hedged call.)"""
    caller = trio.orchestrator.member
    async with trio.stub() as stub, listed(trio.system.mesh, trio.late, caller):
        said, retried = refusals(trio.late), await told_by(caller, "upstream_rq_retry")
        async with under_load(lambda: ask(stub), PER_SECOND) as load:
            await load.until_ended(60)
        said, retried = refusals(trio.late) - said, await told_by(caller, "upstream_rq_retry") - retried
    record_property("asked", f"{len(load.ended)}; it called itself unavailable {said} times, {retried} second tries")
    assert [each.error for each in load.ended if each.error] == []
    assert 1 <= retried <= said


def refusals(replica):
    return served(replica, "Retrieve", code="UNAVAILABLE")


@asynccontextmanager
async def listed(mesh, replica, caller):
    await mesh.enlist(replica.member)
    async with asyncio.timeout(KNOWN_S):
        await mesh.until_known(replica.member, caller)
    yield
    await mesh.withdraw(replica.member)
    async with asyncio.timeout(KNOWN_S):
        await mesh.until_forgotten(replica.member, caller)


async def kept_busy(trio, at_once):
    """So many callers, each calling again when its call has failed; calls made, attempts that arrived, most at once."""
    before, calls, most = await attempts(trio.retrievers), 0, 0
    async with open_channel(ADDRESSES["retriever"], proxy=trio.orchestrator.member.outbound) as channel:
        stub = retriever_rpc.RetrieverServiceStub(channel)
        end = asyncio.get_running_loop().time() + BUDGETED_S

        async def call_on():
            nonlocal calls
            while asyncio.get_running_loop().time() < end:
                calls += 1
                with pytest.raises(grpc.RpcError):
                    await stub.Retrieve(retriever_pb2.RetrieveRequest(collection="docs"), timeout=ENOUGH_S)

        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(call_on()) for _ in range(at_once)]
            while not all(caller.done() for caller in callers):
                most = max(most, await told_by(trio.orchestrator.member, "upstream_rq_active"))
                await asyncio.sleep(POLL_S)
    return calls, await attempts(trio.retrievers) - before, most


async def test_second_tries_are_a_fifth_of_what_is_open(trio, record_property):
    await fail(trio.retrievers, 100, delayed=True)
    calls, tries, most = await kept_busy(trio, AT_ONCE)
    overflown = await told_by(trio.orchestrator.member, "upstream_rq_retry_overflow")
    record_property(
        "many at once", f"{most} open, {calls} calls, {tries} attempts: {tries / calls:.3f}, {overflown} cut"
    )
    assert most >= 50
    # A fifth of all that is open, the second tries among them.
    assert 1.05 < tries / calls <= 1.25
    assert overflown > 0


async def test_one_caller_alone_always_gets_its_second_try(trio):
    await fail(trio.retrievers, 100, delayed=True)
    calls, tries, _ = await kept_busy(trio, 1)
    assert tries == 2 * calls
