"""uvicorn, run by hand: our socket, no signal handlers, and a protocol that does not wait for ever.

uvicorn closes idle connections, but none that sends its headers a byte at a time, whose headers never end, or whose
caller asks and then does not read; and it answers what its parser refuses in words of its own. `GuardedProtocol` adds
a time and a size for headers, a time for writes, and the one error shape. A body's time and size are the Exchange's
business; what a caller still sends after its response is dropped unread, up to a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from chassis.context import new_request_id
from chassis.errors import DeadlineExceeded, MalformedMessage, PortInUse, RagError
from gateway.json_message import dump
from gateway.problems import problem

MAX_HEADER_BYTES = 64 * 1024  # four times what browsers and proxies send at most
MAX_DROPPED_BYTES = 1024 * 1024 * 1024  # of a body nobody reads any more; then the connection is cut
HEADERS_TOO_LARGE = 431
REQUEST_TIMEOUT = 408
BACKLOG = 2048  # uvicorn's own default


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    header_timeout_s: float = 10.0
    write_stall_s: float = 30.0  # no reader needs longer to take 64 KiB; a stalled one holds an answer and its buffers

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._dropped_bytes = 0
        self._header_timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching_writes()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._stop_watching_writes()
        # abort, not close: closing waits for the bytes that nobody takes.
        self._write_timer = self.loop.call_later(self.write_stall_s, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_watching_writes()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._header_timer is not None:
            # Counted before parsing, so a body that arrives with its headers counts too: hence the generous bound.
            self._header_bytes += len(data)
        elif self._is_answered():
            self._dropped_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._header_timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(HEADERS_TOO_LARGE, MalformedMessage(f"the headers are over {MAX_HEADER_BYTES} bytes"))
        elif self._dropped_bytes > MAX_DROPPED_BYTES:
            self.transport.close()
        elif self._dropped_bytes and self.timeout_keep_alive_task is None:
            # uvicorn stops its idle timer at any byte, and starts it only at the end of a response.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._header_timer is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def timeout_keep_alive_handler(self) -> None:
        self._stop_waiting()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        del msg  # the parser's words
        self._refuse(400, MalformedMessage("this is not an HTTP/1.1 request"))

    def _is_answered(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's annotation forgets that there was none yet
        return cycle is not None and cycle.response_complete

    def _await_headers(self) -> None:
        self._header_bytes = 0
        self._dropped_bytes = 0
        self._header_timer = self.loop.call_later(self.header_timeout_s, self._headers_late)

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_watching_writes(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _headers_late(self) -> None:
        self._header_timer = None
        if not self.transport.is_closing():
            self._refuse(REQUEST_TIMEOUT, DeadlineExceeded("the headers did not arrive in time"))

    def _refuse(self, status: int, error: RagError) -> None:
        self._stop_waiting()
        body = dump(problem(error, new_request_id(), http=status))
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        PortInUse: the address is taken or cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP: asyncio turns Nagle's algorithm off only then, and with it on every answer waits 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
    try:
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError as exc:
        found.close()
        why = "is in use" if exc.errno == errno.EADDRINUSE else "cannot be opened"
        raise PortInUse(f"HTTP port {port} {why}: stop the other program, or choose another port") from exc
    found.setblocking(False)
    return found


@contextlib.asynccontextmanager
async def http_server(
    app: ASGIApp, listener: socket.socket, *, header_timeout_s: float, keep_alive_s: float, drain_s: float
) -> AsyncIterator[Callable[[], None]]:
    """Serve `app` on a bound socket within the block; yields what makes it stop accepting.

    On leaving, open requests get `drain_s` to end and are cancelled then.
    """
    protocol = type("BoundProtocol", (GuardedProtocol,), {"header_timeout_s": header_timeout_s})
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=round(keep_alive_s),
            timeout_graceful_shutdown=max(1, round(drain_s)),
            backlog=BACKLOG,
        )
    )
    running = asyncio.create_task(server._serve([listener]))  # noqa: SLF001  # serve() without its signal handlers
    try:
        while not server.started:
            if running.done():
                await running
            await asyncio.sleep(0.001)
        yield lambda: setattr(server, "should_exit", True)
    finally:
        server.should_exit = True
        await running
