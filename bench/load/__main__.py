"""`make loadtest`: an open-loop load on a running mesh; exits with 1 when an objective is missed.

Start one with `make up`, or name a cluster's orchestrator. Arrivals are a Poisson process, 10 -> 30 -> 50 -> 10 -> 0
asks per second; half of the asks are questions nobody asked before.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from askmesh.client import DEFAULT_TARGET
from bench.load.arrivals import Stage, profile
from bench.load.asks import Kind, Outcome
from bench.load.driver import Load, NothingAnswers, send
from bench.load.verdict import Bars, Check, judge
from bench.speed import corpus
from bench.speed.sample import Sample

# The first is ours, the second the variable of the original's load test.
TARGETS = ("ASKMESH_CLIENT_TARGET", "ORCHESTRATOR_URL")


def main() -> int:
    options = _arguments()
    stages = profile(options.minute_s, options.scale)
    load = Load(
        target=options.target.removeprefix("http://"),
        collection=options.collection,
        stages=stages,
        questions=_questions(options.questions),
        seed=options.seed,
        token=os.environ.get("ASKMESH_CLIENT_TOKEN", ""),
    )
    try:
        outcomes = asyncio.run(send(load))
    except NothingAnswers as error:
        print(
            f"{load.target} answers nothing ({error}): start askmesh with `make up`, or name it with --target",
            file=sys.stderr,
        )
        return 1
    checks = judge(outcomes, Bars(p95_s=options.p95_s, first_token_p95_s=options.first_token_p95_s))
    if options.output == "json":
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        _print(outcomes, stages, checks)
    return 0 if all(check.is_met for check in checks) else 1


def _arguments() -> argparse.Namespace:
    target = next((os.environ[name] for name in TARGETS if os.environ.get(name)), DEFAULT_TARGET)
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--target", default=target, help=f"gRPC address of the orchestrator (default {target})")
    parser.add_argument("--collection", default=os.environ.get("ASKMESH_CLIENT_COLLECTION", "docs"))
    parser.add_argument("--questions", type=Path, help="a question a line; default: made of askmesh's own documents")
    parser.add_argument("--minute-s", type=float, default=60.0, help="seconds that a minute of the profile takes")
    parser.add_argument("--scale", type=float, default=1.0, help="what the profile's rates are multiplied with")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="equal seeds ask the same")
    parser.add_argument("--p95-s", type=float, default=Bars().p95_s)
    parser.add_argument("--first-token-p95-s", type=float, default=Bars().first_token_p95_s)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    return parser.parse_args()


def _questions(file: Path | None) -> list[str]:
    if file is None:
        return corpus.own_questions()
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _print(outcomes: Sequence[Outcome], stages: Sequence[Stage], checks: Sequence[Check]) -> None:
    print(f"{'asks':34} {'count':>7} {'p50 ms':>9} {'p95 ms':>9} {'p99 ms':>9} {'failed':>7}")
    for kind in Kind:
        _row(kind.value, [each for each in outcomes if each.kind is kind])
    start = 0.0
    for stage in stages:
        within = [each for each in outcomes if start <= each.at_s < start + stage.seconds]
        _row(f"{start:5.0f} s, to {stage.target_rps:g}/s", within)
        start += stage.seconds
    for reason, count in Counter(each.failure for each in outcomes if each.failure).most_common():
        print(f"{reason:34} {count:7}")
    for check in checks:
        verdict = "met" if check.is_met else "MISSED"
        print(f"{check.name:34} {check.found:9.3f}  bar {check.bar:g}: {verdict} ({check.samples} samples)")


def _row(name: str, outcomes: Sequence[Outcome]) -> None:
    failed = sum(1 for each in outcomes if each.failure)
    times = [each.total_s * 1e3 for each in outcomes if not each.failure]
    if times:
        sample = Sample(name, times)
        print(f"{name:34} {len(outcomes):7} {sample.p50:9.1f} {sample.p95:9.1f} {sample.p99:9.1f} {failed:7}")
    elif outcomes:
        print(f"{name:34} {len(outcomes):7} {'':9} {'':9} {'':9} {failed:7}")


if __name__ == "__main__":
    sys.exit(main())
