"""The methods of bound services: how their messages are decoded and bounded, and how they are run.

Decoding and encoding are done here and not by gRPC, so that they fail under the frame's error handling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from chassis.errors import MalformedMessage, MessageTooLarge

EXEMPT_SERVICES: Final = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)

ServicerContext = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, ServicerContext], Any]
SENDER_GRACE_S: Final = 0.05  # a few round trips; an upload of megabytes is not waited for

_FACTORIES: Final[Mapping[tuple[bool, bool], Callable[..., Any]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a bound service, as the frame needs it."""

    name: str
    behaviour: Behaviour
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    takes_stream: bool
    gives_stream: bool
    max_message_bytes: int

    @classmethod
    def of(cls, name: str, handler: Any, max_message_bytes: int) -> Method:
        """The method behind one of gRPC's handlers."""
        return cls(
            name=name,
            behaviour=handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream,
            decode=handler.request_deserializer or bytes,
            encode=handler.response_serializer or bytes,
            takes_stream=bool(handler.request_streaming),
            gives_stream=bool(handler.response_streaming),
            max_message_bytes=max_message_bytes,
        )

    def handled_by(self, run: Callable[[Any, ServicerContext], Any]) -> Any:
        """A handler of the same shape that passes bytes to `run` and takes bytes from it."""
        return _FACTORIES[self.takes_stream, self.gives_stream](run)

    @property
    def service(self) -> str:
        return self.name[1:].rpartition("/")[0]

    @property
    def is_exempt(self) -> bool:
        return self.service in EXEMPT_SERVICES

    def decoded(self, payload: Any) -> Any:
        """The request; a stream of them is one already. Raises MalformedMessage or MessageTooLarge."""
        return payload if self.takes_stream else self.message(payload)

    def received(self, payload: Any) -> Any:
        """What gRPC hands over: bytes, or a stream of them, which from here on is one of messages."""
        return Requests(self, payload) if self.takes_stream else payload

    def message(self, raw: bytes) -> Any:
        """One request message."""
        if len(raw) > self.max_message_bytes:
            limit = str(self.max_message_bytes)
            raise MessageTooLarge(f"the message is over {limit} bytes; send less", metadata={"limit_bytes": limit})
        try:
            return self.decode(raw)
        except DecodeError:
            raise MalformedMessage("the bytes are not the message this method takes; check the contract") from None

    async def run(self, request: Any, rpc: ServicerContext) -> bytes | None:
        """Run the servicer; a response stream is written and closed here."""
        if not self.gives_stream:
            return self.encode(await self.behaviour(request, rpc))
        async with aclosing(self.behaviour(request, rpc)) as responses:
            async for response in responses:
                await rpc.write(self.encode(response))
        return None


class Requests:
    """A request stream, decoded message by message as the servicer asks for them.

    Reading raises MalformedMessage or MessageTooLarge.
    """

    def __init__(self, method: Method, raw: AsyncIterator[bytes]) -> None:
        self._method = method
        self._raw = raw
        self._started: AsyncIterator[bytes] | None = None  # not before the first read: gRPC warns of an unused one

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> Any:
        if self._started is None:
            self._started = aiter(self._raw)
        return self._method.message(await anext(self._started))

    async def let_sender_end(self) -> None:
        """Take in what a caller whose stream is refused unread is sending at this moment.

        A status that arrives while gRPC's Python client is still sending is lost there: the client reports INTERNAL.
        """
        if self._started is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(SENDER_GRACE_S):
                async for _ in self._raw:
                    pass
