"""One HTTP request and its response, over plain ASGI: bounded reading, disconnect watching, writing.

Rule 1: a body is bounded in size while it is read, and in time between two of its chunks.
Rule 2: whoever waits for something upstream waits for the caller's disconnect at the same time; work for a caller who
        is gone is cancelled at once.
Rule 3: a response begins once. After that nothing may change its status.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from chassis.budget import Budget
from chassis.context import REQUEST_ID_HEADER, accepted_request_id
from chassis.errors import Cancelled, DeadlineExceeded, MalformedMessage, MessageTooLarge
from gateway.json_faults import Json
from gateway.json_message import dump

JSON_TYPE = "application/json"
BODY_IDLE_S = 20.0  # between two chunks of a body; a phone that changes cells takes a few seconds

GRPC_TIMEOUT_HEADER = "grpc-timeout"
TIMEOUT_MS_HEADER = "x-askmesh-timeout-ms"

_GRPC_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")  # gRPC over HTTP/2, "Timeout"
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

# What every response carries. API answers are never to be kept by a cache; files of the page say otherwise.
COMMON_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

Headers = Mapping[str, str]

T = TypeVar("T")


@dataclass(slots=True)
class Exchange:
    """A request being served.

    Attributes:
        headers: Request headers, lower-case names; of repeated ones the first.
        request_id: The caller's x-request-id when well formed, else a new one.
        budget: Time left for the whole request.
        status: Of the response, once it began; 0 before.
        is_gone: The caller closed its connection.
    """

    scope: Scope
    receive: Receive
    send: Send
    headers: Headers
    request_id: str
    budget: Budget
    status: int = 0
    is_gone: bool = False
    _is_body_read: bool = field(default=False)

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send, budget: Budget) -> Exchange:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        request_id = accepted_request_id(headers.get(REQUEST_ID_HEADER, ""))
        return cls(scope, receive, send, headers, request_id, budget)

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def raw_path(self) -> str:
        raw: bytes = self.scope["raw_path"]
        return raw.decode("latin-1")

    @property
    def query(self) -> str:
        query: bytes = self.scope["query_string"]
        return query.decode("latin-1")

    @property
    def is_started(self) -> bool:
        return self.status != 0

    @property
    def content_type(self) -> str:
        """The media type of the body, without parameters, lower case; "" when none was said."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def asked_timeout_s(self) -> float | None:
        """The time the caller allows, or None.

        Raises:
            MalformedMessage: a timeout header is not well formed.
        """
        if (text := self.headers.get(TIMEOUT_MS_HEADER)) is not None:
            if not (text.isascii() and text.isdigit() and len(text) <= 9):
                raise MalformedMessage(f"{TIMEOUT_MS_HEADER}: milliseconds are expected")
            return int(text) / 1000
        if (text := self.headers.get(GRPC_TIMEOUT_HEADER)) is not None:
            found = _GRPC_TIMEOUT.fullmatch(text)
            if found is None:
                raise MalformedMessage(
                    f"{GRPC_TIMEOUT_HEADER}: up to 8 digits and a unit (H, M, S, m, u, n) are expected"
                )
            return int(found[1]) * _UNIT_S[found[2]]
        return None

    async def chunks(self, max_bytes: int) -> AsyncGenerator[bytes, None]:
        """The body as it arrives.

        Raises:
            MessageTooLarge: it is over `max_bytes`.
            Cancelled: the caller went away.
            DeadlineExceeded: nothing came for too long.
        """
        self._refuse_declared(max_bytes)
        size, more = 0, not self._is_body_read
        while more:
            message = await self._next_message()
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > max_bytes:
                raise too_large(max_bytes)
            more = message.get("more_body", False)
            if chunk:
                yield chunk
        self._is_body_read = True

    async def body(self, max_bytes: int) -> bytes:
        """The whole body, at most `max_bytes`."""
        async with contextlib.aclosing(self.chunks(max_bytes)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    def _refuse_declared(self, max_bytes: int) -> None:
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            raise too_large(max_bytes)

    async def _next_message(self) -> AsgiMessage:
        try:
            async with asyncio.timeout(min(BODY_IDLE_S, self.budget.remaining_s())):
                message = await self.receive()
        except TimeoutError as exc:
            raise DeadlineExceeded("the body did not arrive in time") from exc
        if message["type"] == "http.disconnect":
            raise self._gone()
        return message

    def _gone(self) -> Cancelled:
        self.is_gone = True
        return Cancelled("the caller went away")

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled as soon as the caller is gone. Call after the body was read.

        Raises:
            Cancelled: the caller went away first.
        """
        task = asyncio.create_task(work)
        watch = asyncio.create_task(self._disconnected())
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._gone()
            return task.result()
        finally:
            await stop(task, watch)

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass  # a body nobody reads, on a method without one

    async def start(self, status: int, content_type: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.status = status
        merged = COMMON_HEADERS | {REQUEST_ID_HEADER: self.request_id} | dict(headers)
        if content_type:
            merged["content-type"] = content_type
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in merged.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": False})

    async def respond(
        self, status: int, body: bytes = b"", content_type: str = JSON_TYPE, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """The whole response at once."""
        # RFC 9110: neither 204 nor 304 has a body, and so no length of one.
        length = () if status in {204, 304} else (("content-length", str(len(body))),)
        await self.start(status, content_type if body else "", (*length, *headers))
        await self.finish(body)

    async def respond_json(self, value: Json, status: int = 200) -> None:
        await self.respond(status, dump(value))


def too_large(max_bytes: int) -> MessageTooLarge:
    return MessageTooLarge(f"the body is over {max_bytes} bytes", metadata={"max_bytes": str(max_bytes)})


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and see them end, so that none outlives its request; results were read before."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in running:
        _ = task.cancelled() or task.exception()  # what a cancelled call ended with concerns nobody any more
