"""A bound on generations at once, for a generator whose work is this machine's own processor time.

More extractive answers at once than processors make each of them slower and none of them sooner, and hold up the event
loop that everybody's deadlines live in. Decorates any Generator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from chassis.budget import Budget
from orchestrator.ports import Generator
from orchestrator.types import GenerationEvent, ModelInfo, Prompt, Sampling


class GatedGenerator:
    """The same generator, `limit` at a time, first come first served; waiting ends with the caller's leaving."""

    def __init__(self, inner: Generator, limit: int) -> None:
        self._inner = inner
        self._gate = asyncio.Semaphore(limit)

    @property
    def model(self) -> ModelInfo:
        return self._inner.model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, budget: Budget
    ) -> AsyncGenerator[GenerationEvent, None]:
        async with self._gate, aclosing(self._inner.generate(prompt, sampling, budget=budget)) as events:
            async for event in events:
                yield event
