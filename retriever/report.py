"""What one retrieval tells of itself: milliseconds by stage, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from chassis.budget import Clock
from retriever.types import Degradation, DegradedReason

EFFECTS: Final[Mapping[DegradedReason, str]] = {
    DegradedReason.LEXICAL_UNAVAILABLE: "Passages were found by meaning only; exact words may have been missed.",
    DegradedReason.DENSE_UNAVAILABLE: "Passages were found by words only; paraphrases may have been missed.",
    DegradedReason.EMBEDDER_UNAVAILABLE: "Passages were found by words only; paraphrases may have been missed.",
    DegradedReason.RERANK_SKIPPED: "Passages are in the order of the fused search; the reranker did not run.",
    DegradedReason.CATALOGUE_UNAVAILABLE: "The collection's last known state was read; newer changes are not seen.",
}
"""One sentence for the caller of the answer."""


class Report:
    """Collects while the stages of one retrieval run at once.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timings_ms: dict[str, float] = {}
        self._degraded: list[Degradation] = []

    @property
    def timings_ms(self) -> Mapping[str, float]:
        return dict(self._timings_ms)

    @property
    def degraded(self) -> tuple[Degradation, ...]:
        return tuple(self._degraded)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record how long the block took, whether it succeeded or not."""
        started = self._clock()
        try:
            yield
        finally:
            self._timings_ms[stage] = (self._clock() - started) * 1e3

    def drop(self, stage: str, reason: DegradedReason) -> None:
        """Note that `stage` was left out; the time spent on it is the one recorded for it."""
        spent_ms = self._timings_ms.get(stage, 0.0)
        self._degraded.append(Degradation(stage, reason, EFFECTS[reason], spent_ms))
