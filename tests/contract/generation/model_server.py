"""A model server on a socket that speaks HTTP/1.1 and server-sent events byte by byte, as badly as a test needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


def chunk(content: str | None = None, **more: Any) -> bytes:
    """One event of a chat completion stream."""
    choice: dict[str, Any] = {"index": 0, "delta": {} if content is None else {"content": content}}
    finish = more.pop("finish_reason", None)
    body = {"id": "c", "object": "chat.completion.chunk", "choices": [choice | {"finish_reason": finish}], **more}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int) -> bytes:
    """The event that stream_options.include_usage asks for: no choices, after the last one."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return b"data: " + json.dumps({"choices": [], "usage": counts}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
FOREVER = object()  # in a script: send nothing more, keep the connection open


@dataclass
class Reply:
    """What to answer: a status and, piece by piece, the body as it goes onto the wire."""

    pieces: list[Any] = field(default_factory=list)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    is_chunked: bool = True
    drops: bool = False  # close without the end of the body


def answer(*texts: str, finish_reason: str = "stop", counts: tuple[int, int] | None = (11, 7)) -> Reply:
    """A whole, well-behaved answer."""
    end = [usage(*counts)] if counts else []
    return Reply([*(chunk(text) for text in texts), chunk(finish_reason=finish_reason), *end, DONE])


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ModelServer:
    """Answers every request with `reply`, or with what `reply` makes of the request."""

    def __init__(self) -> None:
        self.reply: Reply | Callable[[Request], Reply] = answer("Hello.")
        self.requests: list[Request] = []
        self.hung_up = asyncio.Event()  # a client closed its connection before the answer was whole
        self.is_streaming = asyncio.Event()
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                reply = self.reply(request) if callable(self.reply) else self.reply
                if not await self._answer(reply, reader, writer):
                    break
        except ConnectionError:
            self.hung_up.set()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send it while watching for the client's leaving; False when the connection is over."""
        sending = asyncio.create_task(_send(reply, writer, self.is_streaming))
        leaving = asyncio.create_task(reader.read(1))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not sending.done():
            self.hung_up.set()
        for task in (sending, leaving):
            task.cancel()
        results = await asyncio.gather(sending, leaving, return_exceptions=True)
        return results[0] is True and not reply.drops


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(first.split()[1], headers, json.loads(body))


async def _send(reply: Reply, writer: asyncio.StreamWriter, is_streaming: asyncio.Event) -> bool:
    headers = dict(reply.headers)
    if reply.is_chunked:
        headers["transfer-encoding"] = "chunked"
    lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    for piece in reply.pieces:
        if piece is FOREVER:
            is_streaming.set()
            await asyncio.Event().wait()
        if isinstance(piece, asyncio.Event):
            await piece.wait()
            continue
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if reply.is_chunked else piece)
        await writer.drain()
        is_streaming.set()
    if reply.is_chunked and not reply.drops:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    return True


@asynccontextmanager
async def running() -> AsyncIterator[ModelServer]:
    model_server = ModelServer()
    open_connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        try:
            await model_server.handle(reader, writer)
        finally:
            open_connections.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    model_server.port = server.sockets[0].getsockname()[1]
    try:
        yield model_server
    finally:
        server.close()
        for task in list(open_connections):
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)
        await server.wait_closed()
