"""`make bench ARGS=scaling`: the original's ramp, 10 -> 200 asks per second, against our autoscaler and our replicas.

Reads what a replica carries from deploy/scaling/capacity.toml and the autoscaler from deploy/scaling's ScaledObject,
prints a table, and writes a chart with --chart. There is no clock in it: the same files give the same table everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.scaling.capacity import DEPLOY, read
from bench.scaling.chart import svg
from bench.scaling.hpa import Autoscaler, Policy, Rules, Unit
from bench.scaling.simulate import Delays, Moment, Pod, Targets, simulate, verdict

LOW_RPS, HIGH_RPS = 10.0, 200.0  # the original's
QUIET_S, HELD_S, SECONDS = 120, 900, 2_700  # before the ramp; at its top; in all, long enough to come down again
# How long the rate takes from low to high: a jump, and the slope the original's article shows.
RAMPS_S = {"at once": 1, "within 5 minutes": 300}
# From a pod's creation until it is ready, in seconds: image on the node; image pulled; a node made first.
STARTS_S = {"image there": 10.0, "image pulled": 25.0, "new node": 120.0}


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench scaling", description=__doc__)
    parser.add_argument("--chart", type=Path, help="write the run of a jump with images pulled to this SVG file")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/scaling.md has it")
    options = parser.parse_args(arguments)
    if options.chart:
        title = f"Retriever, {LOW_RPS:.0f} to {HIGH_RPS:.0f} asks per second at once, pods ready after 25 s"
        options.chart.write_text(svg(title, moments(1, STARTS_S["image pulled"])), encoding="utf-8")
    if options.markdown:
        print(markdown())
        return 0
    print(
        f"{'ramp':18} {'pod start':13} {'most pods':>9} {'to capacity':>12} {'degraded':>9} {'refused':>8} {'p95':>7}"
    )
    for ramp, length in RAMPS_S.items():
        for start, start_s in STARTS_S.items():
            seen = verdict(moments(length, start_s), QUIET_S)
            row = f"{ramp:18} {start:13} {seen.most_replicas:9} {seen.to_capacity_s:10.0f} s {seen.degraded:9.2%}"
            print(f"{row} {seen.refused:8.2%} {seen.worst_p95_ms:7.0f}")
    return 0


def markdown() -> str:
    """The table of docs/scaling.md; a test looks for its rows there."""
    lines = ["| ramp | pods start | most pods | until all is answered | refused |", "|---|---|---|---|---|"]
    for ramp, length in RAMPS_S.items():
        for start, start_s in STARTS_S.items():
            seen = verdict(moments(length, start_s), QUIET_S)
            row = f"| {seen.most_replicas} | {seen.to_capacity_s:.0f} s | {seen.refused:.1%} |"
            lines.append(f"| {ramp} | in {start_s:.0f} s: {start} {row}")
    return "\n".join(lines)


def moments(ramp_s: float, start_s: float) -> list[Moment]:
    """One run with what is in the files."""
    spec, targets = autoscaler(), thresholds()
    return simulate(
        ramp_of(ramp_s), SECONDS, pod=Pod(read()), spec=spec, targets=targets, delays=Delays(start_s=start_s)
    )


def ramp_of(ramp_s: float) -> Callable[[float], float]:
    """The rate by second: low, a straight line up, high for a quarter of an hour, low again."""

    def rate(at_s: float) -> float:
        if at_s < QUIET_S or at_s >= QUIET_S + ramp_s + HELD_S:
            return LOW_RPS
        return LOW_RPS + (HIGH_RPS - LOW_RPS) * min(1.0, (at_s - QUIET_S) / ramp_s)

    return rate


def autoscaler() -> Autoscaler:
    """The one that KEDA makes of the ScaledObject."""
    spec = _document("scaling/scaledobject-retriever.yaml")["spec"]
    behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = _rules(behaviour["scaleUp"]), _rules(behaviour["scaleDown"])
    return Autoscaler(spec["minReplicaCount"], spec["maxReplicaCount"], up, down)


def thresholds() -> Targets:
    """Its triggers, and what a pod asks for."""
    triggers = _document("scaling/scaledobject-retriever.yaml")["spec"]["triggers"]
    wanted = {each["type"]: each["metadata"] for each in triggers}
    pod = _document("base/deployment-retriever.yaml")["spec"]["template"]["spec"]
    requested = pod["containers"][0]["resources"]["requests"]["cpu"]
    return Targets(
        rps=float(wanted["prometheus"]["threshold"]),
        cpu_share=float(wanted["cpu"]["value"]) / 100,
        cpu_requested=float(requested.removesuffix("m")) / (1_000 if requested.endswith("m") else 1),
    )


def _document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return found


def _rules(found: dict[str, Any]) -> Rules:
    policies = [Policy(Unit(each["type"]), each["value"], each["periodSeconds"]) for each in found["policies"]]
    return Rules(policies, found["stabilizationWindowSeconds"])
