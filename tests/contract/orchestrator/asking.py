"""One ask in the suites of the service, and what became of one that failed."""

from __future__ import annotations

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import RetrieverUnavailable
from chassis.status import from_rpc_error

QUESTION = "How long does the lease last?"


def request(question=QUESTION, **fields):
    return pb.AskRequest(collection="docs", question=question, **fields)


async def failure(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value, RetrieverUnavailable)
