"""Runs a server of the rig: on free ports, until it answers; then it can be stopped, killed, paused and started again.

A Server belongs to no event loop: one that a whole test session shares is used from every test's own loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from askmesh.rig.ports import free_ports

HOST = "127.0.0.1"
POLL_S = 0.05  # between two looks at a starting server: the fastest is ready in .1 s
STOP_S = 20.0  # a server that has not ended so long after SIGTERM is killed
ATTEMPTS = 3  # a free port may be taken by somebody else before the server binds it
LOG_TAIL_BYTES = 2_000


class RigFailed(Exception):
    """A server that is here did not start; `str()` ends with the end of its log."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one server is started.

    Attributes:
        ports: The names of the ports it needs; the first is the main one.
        command: Its command line, given the ports.
        is_ready: Asked until it says True; OSError counts as "not yet".
        start_s: Seconds it may take to be ready.
    """

    name: str
    version: str
    ports: Sequence[str]
    command: Callable[[Mapping[str, int]], Sequence[str]]
    is_ready: Callable[[Server], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    start_s: float = 180.0  # a JVM takes 5 s; 45 where ten others build beside it


class Server:
    """A server of the rig.

    Attributes:
        ports: By name; `port` is the main one.
        log: Everything it printed, over all its starts.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.name = recipe.name
        self.version = recipe.version
        self.host = HOST
        self.folder = folder
        self.log = folder / f"{recipe.name}.log"
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self.ports[self.recipe.ports[0]]

    @property
    def url(self) -> str:
        return f"{self.recipe.scheme}://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ProcessLookupError(f"{self.name} does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and wait until it answers; a second start keeps the ports.

        Raises:
            RigFailed: it ended, or did not answer in time.
        """
        chosen = bool(self.ports)
        for attempt in range(ATTEMPTS):
            if not chosen:
                self.ports = dict(zip(self.recipe.ports, free_ports(len(self.recipe.ports)), strict=True))
            self._launch()
            try:
                async with asyncio.timeout(self.recipe.start_s):
                    if await self._answers():
                        return
            except TimeoutError:
                await self.stop()
                raise RigFailed(f"{self.name} was not ready in {self.recipe.start_s:.0f} s: {self._tail()}") from None
            if chosen or attempt == ATTEMPTS - 1:
                raise RigFailed(f"{self.name} ended at its start: {self._tail()}")

    async def stop(self, *, within_s: float = STOP_S) -> None:
        """End it in its own way, or by force after `within_s`. Nothing happens when it does not run."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)  # a paused one could not hear the next
        self._signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, within_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to it and its children; gone when this returns."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.recipe.command(self.ports)),
                cwd=self.folder,
                env={**os.environ, **self.recipe.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its group can be signalled whole; a Ctrl-C is the tests' to handle
            )

    async def _answers(self) -> bool:
        """True when it is ready, False when it ended."""
        while self.is_running:
            try:
                if await self.recipe.is_ready(self):
                    return True
            except OSError:
                pass  # nobody listens yet
            await asyncio.sleep(POLL_S)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running:
            os.killpg(self.pid, number)

    def _tail(self) -> str:
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


@asynccontextmanager
async def running(recipe: Recipe, folder: Path) -> AsyncIterator[Server]:
    """The server, ready; stopped at the end. Its log and its data stay in `folder`."""
    server = Server(recipe, folder)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
