"""A port that misbehaves on cue: the real adapter with something before or after its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Cue = Callable[[], Awaitable[None]]


class Interposed:
    """Forwards every call to `port`; runs `before[name]` or `after[name]` once each, in order, when there is one."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.before: dict[str, list[Cue]] = {}
        self.after: dict[str, list[Cue]] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            await _next(self.before, name)
            result = await method(*args, **kwargs)
            await _next(self.after, name)
            return result

        return call


async def _next(cues: dict[str, list[Cue]], name: str) -> None:
    waiting = cues.get(name)
    if waiting:
        await waiting.pop(0)()


def failing(error: Exception) -> Cue:
    """A cue that raises."""

    async def fail() -> None:
        raise error

    return fail


class Held:
    """A cue that holds a call until it is let go, and says when it has one."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.let_go.wait()


async def nothing() -> None:
    """A cue that lets a call pass."""
