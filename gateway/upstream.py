"""Calls to the services behind the gateway: descriptors in, messages out, our errors only.

What it does not do: retry. The mesh or the caller does (design.md section 7).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.budget import Budget
from chassis.errors import BackendUnavailable, DeadlineExceeded, RagError, RetrieverUnavailable
from chassis.status import from_rpc_error

RETRIEVER_PACKAGE = "rag.retriever.v1"
ORCHESTRATOR_PACKAGE = "rag.orchestrator.v1"

_UNAVAILABLE: Mapping[str, type[BackendUnavailable]] = {RETRIEVER_PACKAGE: RetrieverUnavailable}


class Upstream:
    """The services, by the package of their contracts.

    Args:
        channels: Package -> channel; what it relays (identity, request id, trace, variant) is the channel's business.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._channels = channels
        self._stubs: dict[str, Callable[..., Any]] = {}

    def channel(self, package: str) -> grpc.aio.Channel:
        return self._channels[package]

    async def call(self, method: MethodDescriptor, request: Message, budget: Budget) -> Message:
        """A unary call; cancelling the caller cancels it.

        Raises:
            RagError: what the service said, or BackendUnavailable (RetrieverUnavailable) when it does not answer.
        """
        try:
            response: Message = await self._stub(method)(request, timeout=_time_left(budget))
        except grpc.RpcError as exc:
            raise translated(exc, method) from exc
        return response

    async def stream(self, method: MethodDescriptor, request: Message, budget: Budget) -> AsyncIterator[Message]:
        """A server stream; leaving it cancels the call."""
        call = self._stub(method)(request, timeout=_time_left(budget))
        try:
            async for message in call:
                yield message
        except grpc.RpcError as exc:
            raise translated(exc, method) from exc
        finally:
            call.cancel()

    @contextlib.contextmanager
    def duplex(self, method: MethodDescriptor, budget: Budget) -> Any:
        """An open bidirectional call to write to and read from; leaving it cancels what is left of it."""
        call = self._stub(method)(timeout=_time_left(budget))
        try:
            yield call
        except grpc.RpcError as exc:
            raise translated(exc, method) from exc
        finally:
            call.cancel()

    def _stub(self, method: MethodDescriptor) -> Callable[..., Any]:
        path = f"/{method.containing_service.full_name}/{method.name}"
        if path not in self._stubs:
            channel = self._channels[method.containing_service.file.package]
            self._stubs[path] = _arity(channel, method)(
                path,
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
        return self._stubs[path]


def method_named(service: ServiceDescriptor, name: str) -> MethodDescriptor:
    found: MethodDescriptor = service.methods_by_name[name]
    return found


def _arity(channel: grpc.aio.Channel, method: MethodDescriptor) -> Callable[..., Any]:
    match method.client_streaming, method.server_streaming:
        case True, True:
            return channel.stream_stream
        case False, True:
            return channel.unary_stream
        case True, False:
            return channel.stream_unary
        case _:
            return channel.unary_unary


def _time_left(budget: Budget) -> float:
    inner = budget.less()
    if inner.is_spent:
        raise DeadlineExceeded("the deadline passed before the call could start")
    return inner.remaining_s()


def translated(exc: grpc.RpcError, method: MethodDescriptor) -> RagError:
    return from_rpc_error(exc, _UNAVAILABLE.get(method.containing_service.file.package, BackendUnavailable))
