"""Latency samples and their percentiles."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Latencies of one measurement, in milliseconds, in the order taken."""

    name: str
    milliseconds: Sequence[float]

    def percentile(self, share: float) -> float:
        """The nearest-rank percentile; `share` in (0, 1]."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]

    @property
    def p50(self) -> float:
        return self.percentile(0.50)

    @property
    def p95(self) -> float:
        return self.percentile(0.95)

    @property
    def p99(self) -> float:
        return self.percentile(0.99)


async def measure(name: str, work: Callable[[int], Awaitable[float | None]], *, count: int, warm_up: int = 5) -> Sample:
    """Run `work(i)` one after another and take each run's time; a float it returns (milliseconds) is taken instead."""
    for index in range(warm_up):
        await work(-1 - index)
    taken: list[float] = []
    for index in range(count):
        started = time.perf_counter()
        own = await work(index)
        taken.append(own if own is not None else (time.perf_counter() - started) * 1e3)
    return Sample(name, taken)
