"""The horizontal pod autoscaler's arithmetic (autoscaling/v2), as a function of time.

Rule 1: this is Kubernetes' algorithm and nothing of ours; its tests hold it to the examples of the published page.
Rule 2: time is a number that the caller moves.
Source: kubernetes.io/docs, "Horizontal Pod Autoscaling": "Algorithm details" and "Configurable scaling behavior". The
order of steps is pkg/controller/podautoscaler/horizontal.go's: metrics, stabilisation, policies, range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

TOLERANCE: Final = 0.1  # --horizontal-pod-autoscaler-tolerance
SYNC_S: Final = 15.0  # --horizontal-pod-autoscaler-sync-period


class Unit(StrEnum):
    """What a policy's value counts."""

    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True, slots=True)
class Policy:
    """At most so many pods, or per cent of them, within the last `period_s`."""

    unit: Unit
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction of `behavior`; of several policies the one that allows the largest change counts (Max)."""

    policies: Sequence[Policy]
    stabilisation_s: float


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler's spec."""

    min_replicas: int
    max_replicas: int
    up: Rules
    down: Rules


def per_pod(total: float, target: float, replicas: int) -> int:
    """Replicas for a metric of target type AverageValue: ceil(total / target), unless within the tolerance."""
    ratio = total / (target * replicas)
    return replicas if abs(ratio - 1.0) <= TOLERANCE else _ceil(total / target)


def utilisation(current: float, target: float, *, ready: int, replicas: int) -> int:
    """Replicas for a resource's utilisation, averaged over the ready pods.

    Pods that are not ready yet count as using nothing when the answer would be more pods, so that a start is not taken
    for a need; if the tolerance or the direction changes with them, nothing is done.
    """
    ratio = current / target
    if ready == replicas or ratio <= 1.0:
        return replicas if abs(ratio - 1.0) <= TOLERANCE else _ceil(ratio * ready)
    with_unready = current * ready / replicas / target
    if with_unready <= 1.0 or abs(with_unready - 1.0) <= TOLERANCE:
        return replicas
    return _ceil(with_unready * replicas)


@dataclass
class Controller:
    """One autoscaler at work: what it recommended and changed so far."""

    spec: Autoscaler
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now_s: float, replicas: int, desired: Sequence[int]) -> int:
        """The number of replicas from now on; `desired` holds one number for each metric, the largest counts."""
        wanted = self._stabilised(now_s, replicas, max(desired))
        allowed = self._limited(now_s, replicas, wanted)
        decided = min(max(allowed, self.spec.min_replicas), self.spec.max_replicas)
        if decided != replicas:
            self._changes.append((now_s, decided - replicas))
        return decided

    def _stabilised(self, now_s: float, replicas: int, desired: int) -> int:
        """Up only to the least, down only to the most that was recommended within the direction's window."""
        self._recommended.append((now_s, desired))
        least = min(count for at_s, count in self._recommended if at_s >= now_s - self.spec.up.stabilisation_s)
        most = max(count for at_s, count in self._recommended if at_s >= now_s - self.spec.down.stabilisation_s)
        return min(max(replicas, least), most)

    def _limited(self, now_s: float, replicas: int, wanted: int) -> int:
        if wanted > replicas:
            limits = [self._limit(now_s, replicas, policy, 1) for policy in self.spec.up.policies]
            return min(wanted, max(replicas, *limits))
        if wanted < replicas:
            limits = [self._limit(now_s, replicas, policy, -1) for policy in self.spec.down.policies]
            return max(wanted, min(replicas, *limits))
        return replicas

    def _limit(self, now_s: float, replicas: int, policy: Policy, sign: int) -> int:
        """What a policy allows, from the number of pods at the beginning of its period."""
        recent = [by for at_s, by in self._changes if at_s > now_s - policy.period_s and by * sign > 0]
        before = replicas - sum(recent)
        if policy.unit is Unit.PODS:
            return before + sign * policy.value
        share = before * (1 + sign * policy.value / 100)
        return _ceil(share) if sign > 0 else int(share)


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))  # 3.0000000001 pods are 3
