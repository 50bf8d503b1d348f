"""Services in processes of their own, and a wire that a test can cut."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

# `make faults` runs every campaign in full; `make test` a smaller one of each.
IS_CAMPAIGN = os.environ.get("CAMPAIGN") == "1"
LAST_LINES = 200  # of a service's errors


@contextmanager
def service(role, **settings):
    """`askmesh serve ROLE`, ready; killed at the end. What it said of errors is printed: a test that fails shows it."""
    names = {f"ASKMESH_{role.upper()}_{name.upper()}": str(value) for name, value in settings.items()}
    names[f"ASKMESH_{role.upper()}_LOG_LEVEL"] = "error"
    process = subprocess.Popen(
        [sys.executable, "-m", "askmesh", "serve", role],
        env={**os.environ, **names, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr, ThreadPoolExecutor(1) as reader:
        try:
            assert any("serves at" in line for line in process.stderr)
            said = reader.submit(deque[str], process.stderr, LAST_LINES)
            yield process
        finally:
            process.kill()
            process.wait()
        sys.stdout.writelines(said.result())


class Wire:
    """A TCP relay to a server: `cut` refuses and breaks connections, `hang` keeps them and passes nothing on.

    Attributes:
        port: What the one to be cut off dials.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._state = "whole"
        self._changed = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await server.wait_closed()

    def mend(self) -> None:
        self._become("whole")

    def hang(self) -> None:
        self._become("hung")

    def cut(self) -> None:
        self._become("cut")
        for writer in self._open:
            writer.transport.abort()

    def _become(self, state: str) -> None:
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state == "cut":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(reader, far_writer))
                group.create_task(self._relay(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while content := await reader.read(65_536):
                while self._state == "hung":
                    await self._changed.wait()
                writer.write(content)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()
