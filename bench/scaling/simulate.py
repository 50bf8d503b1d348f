"""A ramp against the autoscaler: what arrives, what the pods of that moment can answer, what is done about it.

Each second asks arrive at the ramp's rate and are spread evenly over the ready pods. What a pod does at its share of
the rate is what `make bench ARGS=capacity` measured at that rate; past the last measured one the rest is refused.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.scaling.capacity import Step
from bench.scaling.hpa import SYNC_S, Autoscaler, Controller, per_pod, utilisation


@dataclass(frozen=True, slots=True)
class Pod:
    """What one replica does, by requests per second: the steps of the capacity measurement, slowest first."""

    steps: Sequence[Step]

    def at(self, rps: float) -> Step:
        """In between, on the straight line; past the last step, that step's throughput and the rest refused."""
        last = self.steps[-1]
        if rps >= last.rps:
            answered = last.rps * (1 - last.refused) / rps
            return Step(rps, last.p50_ms, last.p95_ms, last.full * last.rps / rps, 1 - answered, last.cpu_ms, 0)
        above = bisect_left([step.rps for step in self.steps], rps)
        if above == 0:
            return self.steps[0]
        low, high = self.steps[above - 1], self.steps[above]
        share = (rps - low.rps) / (high.rps - low.rps)

        def between(one: float, other: float) -> float:
            return one + (other - one) * share

        return Step(
            rps,
            between(low.p50_ms, high.p50_ms),
            between(low.p95_ms, high.p95_ms),
            between(low.full, high.full),
            between(low.refused, high.refused),
            between(low.cpu_ms, high.cpu_ms),
            0,
        )


@dataclass(frozen=True, slots=True)
class Delays:
    """What the autoscaler waits for.

    Attributes:
        scrape_s: Between two scrapes; a number is that old at most.
        window_s: Of the query's rate().
        start_s: From a pod's creation until it is ready.
    """

    scrape_s: float = 15.0
    window_s: float = 60.0
    start_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Targets:
    """Of the two triggers: requests per second and pod; CPU as a share of what a pod asks for."""

    rps: float
    cpu_share: float
    cpu_requested: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One second."""

    at_s: float
    rps: float
    replicas: int
    ready: int
    p95_ms: float
    degraded: float
    refused: float


@dataclass
class _Pods:
    """Which pods exist, and from when each is ready."""

    ready_at: list[float]

    def ready(self, now_s: float) -> int:
        return sum(at <= now_s for at in self.ready_at)

    def set(self, count: int, now_s: float, start_s: float) -> None:
        self.ready_at += [now_s + start_s] * (count - len(self.ready_at))
        self.ready_at = sorted(self.ready_at)[:count]  # the youngest go first


@dataclass
class _Scrapes:
    """The counter as Prometheus has it: rate() sees nothing newer than the last scrape."""

    delays: Delays
    seen: deque[tuple[float, float]] = field(default_factory=deque)

    def scrape(self, now_s: float, total: float) -> None:
        self.seen.append((now_s, total))
        while self.seen[0][0] < now_s - self.delays.window_s:
            self.seen.popleft()

    def rate(self) -> float:
        (first_s, first), (last_s, last) = self.seen[0], self.seen[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def simulate(
    ramp: Callable[[float], float],
    seconds: int,
    *,
    pod: Pod,
    spec: Autoscaler,
    targets: Targets,
    delays: Delays = Delays(),  # frozen
) -> list[Moment]:
    """Second by second what a caller would have seen."""
    controller, pods, scrapes = Controller(spec), _Pods([-1.0] * spec.min_replicas), _Scrapes(delays)
    answered, moments, cpu = 0.0, [], 0.0
    for second in range(seconds):
        now, ready = float(second), pods.ready(second)
        rate = ramp(now)
        step = pod.at(rate / ready)
        answered += rate  # refused calls are handled calls too: the demand is what counts
        moments.append(
            Moment(
                now, rate, len(pods.ready_at), ready, step.p95_ms, max(0.0, 1 - step.full - step.refused), step.refused
            )
        )
        if now % delays.scrape_s == 0:
            scrapes.scrape(now, answered)
            cpu = rate / ready * (1 - step.refused) * step.cpu_ms / 1e3 / targets.cpu_requested
        if now % SYNC_S == 0 and now >= delays.window_s:
            replicas = len(pods.ready_at)
            wanted = [
                per_pod(scrapes.rate(), targets.rps, replicas),
                utilisation(cpu, targets.cpu_share, ready=ready, replicas=replicas),
            ]
            pods.set(controller.decide(now, replicas, wanted), now, delays.start_s)
    return moments


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run comes to.

    Attributes:
        to_capacity_s: From the ramp's beginning until no ask was degraded or refused any more.
        degraded: Share of all asks answered without something.
        refused: Share of all asks refused with RetryInfo.
    """

    most_replicas: int
    to_capacity_s: float
    degraded: float
    refused: float
    worst_p95_ms: float


def verdict(moments: Sequence[Moment], ramp_from_s: float) -> Verdict:
    asked = sum(each.rps for each in moments)
    short = [each.at_s for each in moments if each.degraded + each.refused > 0.001]
    return Verdict(
        most_replicas=max(each.replicas for each in moments),
        to_capacity_s=max(0.0, short[-1] + 1 - ramp_from_s) if short else 0.0,
        degraded=sum(each.rps * each.degraded for each in moments) / asked,
        refused=sum(each.rps * each.refused for each in moments) / asked,
        worst_p95_ms=max(each.p95_ms for each in moments),
    )
