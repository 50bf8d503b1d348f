"""What a load showed, and whether it is good enough. A bar without samples is missed, not met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.load.asks import Kind, Outcome
from bench.speed.sample import Sample


@dataclass(frozen=True, slots=True)
class Bars:
    """The service's objectives under load.

    Attributes:
        p95_s: Of a whole answer; the original's operating rule is 2 s.
        first_token_p95_s: Of the first word.
        max_degraded: Share of answers without something; the original's rule for fallbacks is 10 %.
        max_failed: Share of asks that ended in a status outside the table of design: none.
        max_refused: Share of asks refused with RetryInfo, as a server that protects itself does.
        min_hits: Share of repeated questions that the cache answered; far above the original's 40 % of all questions,
            since these were asked before.
        max_false_cold: Share of new questions that a cache answered: above it the load measures the cache.
        max_late_s: 99th percentile of the driver's own lag: above it the load was not what it says.
    """

    p95_s: float = 2.0
    first_token_p95_s: float = 1.0
    max_degraded: float = 0.10
    max_failed: float = 0.0
    max_refused: float = 0.01
    min_hits: float = 0.80
    max_false_cold: float = 0.01
    max_late_s: float = 0.25


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    found: float
    bar: float
    is_met: bool
    samples: int


def judge(outcomes: Sequence[Outcome], bars: Bars) -> list[Check]:
    """Every bar with what was found."""
    whole = [each for each in outcomes if each.kind is not Kind.CANCEL]
    answered = [each for each in whole if not each.failure]
    cold = [each for each in answered if each.kind is Kind.COLD]
    repeated = [each for each in answered if each.kind is Kind.CACHE]
    return [
        _at_most("answer p95, s", [each.total_s for each in answered], 0.95, bars.p95_s),
        _at_most("first word p95, s", [each.first_token_s for each in answered], 0.95, bars.first_token_p95_s),
        _share("failed", [bool(each.failure) and not each.is_refused for each in outcomes], bars.max_failed),
        _share("refused with RetryInfo", [each.is_refused for each in outcomes], bars.max_refused),
        _share("degraded", [each.is_degraded for each in answered], bars.max_degraded),
        _share("new questions from a cache", [each.cache.startswith("HIT") for each in cold], bars.max_false_cold),
        _at_least("repeated ones from the cache", [each.cache.startswith("HIT") for each in repeated], bars.min_hits),
        _at_most("driver late p99, s", [each.late_s for each in outcomes], 0.99, bars.max_late_s),
    ]


def _at_most(name: str, values: Sequence[float], share: float, bar: float) -> Check:
    found = Sample(name, values).percentile(share) if values else float("nan")
    return Check(name, found, bar, bool(values) and found <= bar, len(values))


def _share(name: str, facts: Sequence[bool], bar: float) -> Check:
    found = sum(facts) / len(facts) if facts else float("nan")
    return Check(name, found, bar, bool(facts) and found <= bar, len(facts))


def _at_least(name: str, facts: Sequence[bool], bar: float) -> Check:
    found = sum(facts) / len(facts) if facts else float("nan")
    return Check(name, found, bar, bool(facts) and found >= bar, len(facts))
