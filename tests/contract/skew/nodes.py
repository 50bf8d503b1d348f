"""A hop between two nodes of other generations: every message goes through what each of them understands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import Descriptor

from tests.contract.skew.generations import Generation, released_methods

TIMEOUT_S = 60.0  # where the caller names none


class Hop(grpc.GenericRpcHandler):
    """Serves every released rpc by asking a real service; generations in the order a request passes them."""

    def __init__(self, channel: Any, generations: Sequence[Generation]) -> None:
        self._channel = channel
        self._generations = generations
        self._methods = released_methods()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        method = self._methods.get(path)
        if method is None:
            return None  # UNIMPLEMENTED, as from a server that was built before the rpc existed
        request, reply = method.input_type, method.output_type
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._both_ways(path, request, reply))
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._one_way(path, request, reply))
        return grpc.unary_unary_rpc_method_handler(self._unary(path, request, reply))

    def _unary(self, path: str, request: Descriptor, reply: Descriptor) -> Any:
        async def call(data: bytes, context: Any) -> bytes:
            try:
                asked = self._channel.unary_unary(path)(self._there(request, data), **_carried(context))
                return self._back(reply, await asked)
            except grpc.aio.AioRpcError as error:
                await _abort(context, error)

        return call

    def _one_way(self, path: str, request: Descriptor, reply: Descriptor) -> Any:
        async def call(data: bytes, context: Any) -> AsyncIterator[bytes]:
            try:
                async for said in self._channel.unary_stream(path)(self._there(request, data), **_carried(context)):
                    yield self._back(reply, said)
            except grpc.aio.AioRpcError as error:
                await _abort(context, error)

        return call

    def _both_ways(self, path: str, request: Descriptor, reply: Descriptor) -> Any:
        async def call(parts: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async def sent() -> AsyncIterator[bytes]:
                async for data in parts:
                    yield self._there(request, data)

            async for said in self._channel.stream_stream(path)(sent(), **_carried(context)):
                yield self._back(reply, said)

        return call

    def _there(self, kind: Descriptor, data: bytes) -> bytes:
        for generation in self._generations:
            data = generation(kind, data)
        return data

    def _back(self, kind: Descriptor, data: bytes) -> bytes:
        for generation in reversed(self._generations):
            data = generation(kind, data)
        return data


def _carried(context: Any) -> dict[str, Any]:
    left = context.time_remaining()
    metadata = [pair for pair in context.invocation_metadata() or () if not pair[0].startswith(("grpc-", "user-agent"))]
    return {"timeout": TIMEOUT_S if left is None else left, "metadata": metadata}


async def _abort(context: Any, error: grpc.aio.AioRpcError) -> NoReturn:
    await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
    raise AssertionError("abort returned")


@asynccontextmanager
async def hop(target: str, listen: str, generations: Sequence[Generation]) -> AsyncIterator[str]:
    """A hop in front of `target`; yields its address."""
    async with grpc.aio.insecure_channel(target) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Hop(channel, generations),))
        server.add_insecure_port(listen)
        await server.start()
        try:
            yield listen
        finally:
            await server.stop(None)
