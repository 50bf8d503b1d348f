"""Deadlines as values: how much time a piece of work may still take.

Rule 1: a budget only shrinks. A child never outlives its parent.
Rule 2: inner timeouts are shorter than outer ones, so that the caller who can still
        degrade is the one who notices first. Each hop keeps a reserve for itself.
Rule 3: the clock is monotonic and injected; wall time plays no part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from chassis.errors import DeadlineExceeded

Clock = Callable[[], float]
"""Returns monotonic seconds."""

DEFAULT_BUDGET_S = 30.0  # design.md section 3.1: used when a caller names no deadline
HOP_RESERVE_S = 0.010  # one Python gRPC hop costs 0.6 ms; ten leaves room to answer under load


@dataclass(frozen=True, slots=True)
class Budget:
    """Time left for a piece of work, against one monotonic clock.

    Attributes:
        deadline: Monotonic seconds at which the work must have ended.
        clock: The clock `deadline` is read against.
    """

    deadline: float
    clock: Clock = time.monotonic

    @classmethod
    def of(cls, seconds: float, clock: Clock = time.monotonic) -> Budget:
        """A budget that ends `seconds` from now (negative counts as spent)."""
        return cls(deadline=clock() + seconds, clock=clock)

    def remaining_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.deadline - self.clock())

    @property
    def is_spent(self) -> bool:
        return self.remaining_s() <= 0.0

    def within(self, cap_s: float) -> Budget:
        """The same budget, ending in at most `cap_s` seconds."""
        return Budget(min(self.deadline, self.clock() + cap_s), self.clock)

    def less(self, reserve_s: float = HOP_RESERVE_S) -> Budget:
        """The same budget, ending `reserve_s` seconds earlier: what a hop passes on."""
        return Budget(self.deadline - reserve_s, self.clock)

    def check(self, place: str) -> None:
        """Raise DeadlineExceeded, naming `place`, when nothing is left."""
        if self.is_spent:
            raise DeadlineExceeded(f"{place}: the deadline passed before it could start")
