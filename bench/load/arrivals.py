"""When asks arrive: a rate that changes in stages, and arrivals that do not wait for answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """The rate moves in a straight line to `target_rps` within `seconds`, from where the stage before ended."""

    seconds: float
    target_rps: float


def profile(minute_s: float, scale: float) -> tuple[Stage, ...]:
    """The original's shape, 10 -> 30 -> 50 -> 10 -> 0 asks per second: to each level, and held there.

    Args:
        minute_s: How long one of its minutes takes.
        scale: What its rates are multiplied with.
    """
    levels = (10.0, 30.0, 50.0, 10.0)
    moves = [stage for level in levels for stage in (Stage(minute_s / 4, level), Stage(minute_s * 3 / 4, level))]
    return tuple(Stage(stage.seconds, stage.target_rps * scale) for stage in (*moves, Stage(minute_s / 4, 0.0)))


def rate_at(stages: Sequence[Stage], seconds: float) -> float:
    """Asks per second at this time; 0 after the end."""
    before, started = 0.0, 0.0
    for stage in stages:
        if seconds < started + stage.seconds:
            return before + (stage.target_rps - before) * (seconds - started) / stage.seconds
        before, started = stage.target_rps, started + stage.seconds
    return 0.0


def arrivals(stages: Sequence[Stage], chance: random.Random) -> Iterator[float]:
    """Times of a Poisson process with this rate, in seconds from the start.

    Source: thinning, Lewis and Shedler 1979: draw at the highest rate, keep each with the share of the rate there.
    """
    highest = max(stage.target_rps for stage in stages)
    end = sum(stage.seconds for stage in stages)
    now = 0.0
    while (now := now + chance.expovariate(highest)) < end:
        if chance.random() * highest < rate_at(stages, now):
            yield now
