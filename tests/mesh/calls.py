"""Calls into the mesh, and what the services say they served."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections import Counter
from contextlib import asynccontextmanager

import grpc
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from askmesh.rig.fleet import ADDRESSES
from chassis.channel import open_channel

QUESTION = "How long does a lease last?"
ENOUGH_S = 30.0
AT_ONCE = 16  # calls under way; more only wait in the services' queues


@asynccontextmanager
async def orchestrator_from(member):
    """A stub whose calls leave through the member's sidecar."""
    async with open_channel(ADDRESSES["orchestrator"], proxy=member.outbound) as channel:
        yield rpc.OrchestratorServiceStub(channel)


def question(**fields):
    return pb.AskRequest(collection="docs", question=QUESTION, **fields)


async def ask_many(stub, count, metadata=()):
    """Codes of so many asks."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one():
        async with gate:
            try:
                await stub.Ask(question(), timeout=ENOUGH_S, metadata=metadata)
            except grpc.RpcError as refused:
                return refused.code().name
            return "OK"

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


def served(replica, method="Ask", *, code="[A-Z_]+", counter="grpc_server_handled_total"):
    """Calls of a method that a replica's own process counts; of these codes, a regular expression."""
    pattern = rf'^{counter}{{[^}}]*grpc_code="{code}"[^}}]*grpc_method="{method}"[^}}]*}} (\S+)$'
    return sum(int(float(value)) for value in re.findall(pattern, told(replica), re.MULTILINE))


def hedged(orchestrator):
    """Retrievals that it tried a second time because the first was slow."""
    return sum(
        int(float(value)) for value in re.findall(r"^askmesh_hedged_total (\S+)$", told(orchestrator), re.MULTILINE)
    )


def told(replica):
    """What its process says of itself."""
    url = f"http://{replica.service.host}:{replica.service.ports['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=ENOUGH_S) as answer:
        return answer.read().decode()
