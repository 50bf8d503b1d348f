"""OrchestratorService: wire to domain to wire, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc

from chassis import context
from chassis.auth import require
from chassis.identity import ROLE_ASK, ROLE_INGEST
from chassis.server import ServiceBinding
from orchestrator.fold import Folding
from orchestrator.observed import Asks
from orchestrator.replies import answer_to_wire, event_to_wire
from orchestrator.types import AnswerEvent, Sampling
from orchestrator.wire import check_eviction, question_from_wire

MAX_ASK_BYTES = 256 * 1024  # a question of 4,096 characters and the largest filter are some 100 KiB
MAX_EVICT_BYTES = 4 * 1024
SERVICE = "rag.orchestrator.v1.OrchestratorService"

Context = grpc.aio.ServicerContext[Any, Any]


class OrchestratorServicer(rpc.OrchestratorServiceServicer):
    """Cancelling a call closes its event generator, in the same task: that is what reaches the engine.

    Args:
        asks: The pipeline, decorated.
        defaults: For limits a request leaves out.
    """

    def __init__(self, asks: Asks, defaults: Sampling) -> None:
        self._asks = asks
        self._defaults = defaults

    async def Ask(self, request: pb.AskRequest, rpc_context: Context) -> pb.AskResponse:  # noqa: N802  # contract's name
        """The fold of StreamAsk's events, by construction."""
        del rpc_context
        folding = Folding()
        async with aclosing(self._events(request)) as events:
            async for event in events:
                folding.add(event)
        return answer_to_wire(folding.answer())

    async def StreamAsk(  # noqa: N802  # contract's name
        self, request: pb.AskRequest, rpc_context: Context
    ) -> AsyncIterator[pb.StreamAskResponse]:
        """The events as they come."""
        del rpc_context
        sequence = 0
        async with aclosing(self._events(request)) as events:
            async for event in events:
                sequence += 1
                yield event_to_wire(sequence, event)

    async def EvictAnswer(  # noqa: N802  # contract's name
        self, request: pb.EvictAnswerRequest, rpc_context: Context
    ) -> pb.EvictAnswerResponse:
        """Removes an answer of the caller's own tenant."""
        del rpc_context
        call = context.current()
        require(call.identity, ROLE_INGEST)
        check_eviction(request)
        await self._asks.evict(call.identity.tenant, request.collection, request.answer_id, budget=call.budget)
        return pb.EvictAnswerResponse()

    def _events(self, request: pb.AskRequest) -> AsyncGenerator[AnswerEvent, None]:
        call = context.current()
        require(call.identity, ROLE_ASK)
        question = question_from_wire(request, call.identity, call.request_id, defaults=self._defaults)
        waited_s = max(0.0, call.budget.clock() - call.arrived_at) if call.arrived_at else 0.0
        return self._asks.ask(question, budget=call.budget, queue_ms=waited_s * 1_000)


def binding(servicer: OrchestratorServicer) -> ServiceBinding:
    """The service as a server takes it."""
    return ServiceBinding(
        full_name=SERVICE,
        add=rpc.add_OrchestratorServiceServicer_to_server,
        servicer=servicer,
        max_message_bytes={"Ask": MAX_ASK_BYTES, "StreamAsk": MAX_ASK_BYTES, "EvictAnswer": MAX_EVICT_BYTES},
    )
