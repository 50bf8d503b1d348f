"""`make bench ARGS=capacity`: the rate one retriever replica carries at p95 <= 2x unloaded.

The retriever is a process of its own on one core, the driver is on another, so that neither slows the other. Arrivals
are a Poisson process: a closed loop would wait for a slow server and never show the knee. Requests are what an
orchestrator sends: the question with its embedding, five passages wanted. Unloaded means that a request finds nothing
else under way: arrivals so rare that two seldom meet, with the same pauses between them. One request after another
would keep caches and clock warm, and its p95 is half of what the first caller of a quiet second sees.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import os
import random
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from rag.retriever.v1 import retriever_pb2 as pb
from rag.retriever.v1 import retriever_pb2_grpc as rpc

from bench.load.arrivals import Stage, arrivals
from bench.speed import asks, corpus
from bench.speed.sample import Sample
from chassis.budget import Budget
from chassis.channel import open_channel
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder

ALLOWED_SLOWDOWN: Final = 2.0  # issue 5's bar: p95 <= 2x unloaded
ORIGINAL_RPS: Final = 15.0  # requests per second and replica in the original's autoscaler
# What is asked of a replica, as a share of what it carries: the rest is for the minute until another pod answers.
HEADROOM: Final = 0.7
UNLOADED_RPS: Final = 1.0  # a retrieval takes some 20 ms of a core: one arrival in fifty meets another
UNLOADED_S: Final = 120.0
FIRST_RPS: Final = 5.0
GROWTH: Final = 1.5  # between two rates until one is too high; then the interval is halved
HALVINGS: Final = 3
CONNECTIONS: Final = 4  # one of them alone would share the 100 streams of a connection
START_LIMIT_S: Final = 120.0
TIMEOUT_S: Final = 10.0
DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
MEASURED: Final = DEPLOY / "scaling" / "capacity.toml"
HEAD: Final = """\
# What one retriever replica on one core does, by requests per second; made by `make bench ARGS="capacity --write"`.
# The ScaledObject's threshold is derived from it (docs/decisions/0132-what-one-retriever-carries.md), and the
# simulation of the ramp reads it; tests/unit/bench/test_scaling.py holds the three together.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen at one rate.

    Attributes:
        rps: Arrivals per second; the lowest is the unloaded measurement.
        full: Share answered by both legs.
        refused: Share that got a status instead of an answer.
        cpu_ms: Processor time of the retriever per request.
    """

    rps: float
    p50_ms: float
    p95_ms: float
    full: float
    refused: float
    cpu_ms: float
    requests: int


@dataclass(frozen=True, slots=True)
class Replica:
    """A retriever in a process of its own, and the channels to it."""

    process: subprocess.Popen[str]
    stubs: Sequence[rpc.RetrieverServiceAsyncStub]
    requests: Sequence[pb.RetrieveRequest]

    def cpu_s(self) -> float:
        """Processor time so far, from /proc/<pid>/stat: user and system, in ticks."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(arguments: Sequence[str], folder: Path) -> int:
    """The command; `folder` holds the embedded store with the corpus."""
    parser = argparse.ArgumentParser(prog="python -m bench capacity", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each rate (default 40)")
    parser.add_argument("--write", action="store_true", help="write deploy/scaling/capacity.toml")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    steps = asyncio.run(measure(folder, options.seconds))
    if options.output == "json":
        print(json.dumps([dataclasses.asdict(step) for step in steps], indent=2))
    else:
        _print(steps)
    if options.write:
        MEASURED.write_text(written(steps, load), encoding="utf-8")
    return 0


def written(steps: Sequence[Step], load: float) -> str:
    """The file's text; `load` is the machine's load average before the measurement, and tells whether to believe it."""
    lines = [HEAD, f"load_before = {load:.1f}"]
    for step in steps:
        lines += ["", "[[step]]", *(f"{name} = {value}" for name, value in dataclasses.asdict(step).items())]
    return "\n".join(lines) + "\n"


def read() -> list[Step]:
    """The steps in the file."""
    if not MEASURED.exists():
        raise SystemExit('not measured yet: make bench ARGS="capacity --write", on a quiet machine')
    return [Step(**step) for step in tomllib.loads(MEASURED.read_text(encoding="utf-8"))["step"]]


def target(steps: Sequence[Step]) -> int:
    """Requests per second to ask of one replica: the threshold of the ScaledObject."""
    return int(knee(steps) * HEADROOM)


async def measure(folder: Path, seconds: float) -> list[Step]:
    """Every rate that was tried, by rate; the first is the unloaded one."""
    async with _replica(folder) as replica:
        for number in range(50):  # the store's pages, the connections
            await _one(replica, number)
        unloaded = await _loaded(replica, UNLOADED_RPS, UNLOADED_S)
        _say(f"unloaded: p95 {unloaded.p95_ms:.1f} ms")
        steps, good, bad = [unloaded], 0.0, math.inf
        rate = FIRST_RPS
        halvings = 0
        while halvings <= HALVINGS:
            step = await _loaded(replica, rate, seconds)
            steps.append(step)
            _say(f"{rate:.1f}/s: p95 {step.p95_ms:.1f} ms, refused {step.refused:.1%}, full {step.full:.1%}")
            if is_carried(step, unloaded):
                good = max(good, rate)
            else:
                bad = min(bad, rate)
            halvings += math.isfinite(bad)
            rate = (good + bad) / 2 if math.isfinite(bad) else rate * GROWTH
    return sorted(steps, key=lambda step: step.rps)


def is_carried(step: Step, unloaded: Step) -> bool:
    """Nobody is refused, and the slowest twentieth waits no longer than twice as long."""
    return step.refused == 0.0 and step.p95_ms <= ALLOWED_SLOWDOWN * unloaded.p95_ms


def knee(steps: Sequence[Step]) -> float:
    """The highest rate below which every rate was carried; 0 when none was."""
    unloaded, *loaded = sorted(steps, key=lambda step: step.rps)
    best = 0.0
    for step in loaded:
        if not is_carried(step, unloaded):
            break
        best = step.rps
    return best


async def _loaded(replica: Replica, rps: float, seconds: float) -> Step:
    cpu, started = replica.cpu_s(), time.perf_counter()
    tasks = []
    for number, at_s in enumerate(arrivals((Stage(0.0, rps), Stage(seconds, rps)), random.Random(round(rps * 1e3)))):
        if (wait := at_s - (time.perf_counter() - started)) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(_one(replica, number, started + at_s)))
    seen = await asyncio.gather(*tasks)
    return _step(rps, seen, (replica.cpu_s() - cpu) / max(1, len(seen)))


async def _one(replica: Replica, number: int, due: float | None = None) -> tuple[float, bool, bool]:
    """Milliseconds since it was due, whether both legs answered, whether it was refused."""
    stub = replica.stubs[number % len(replica.stubs)]
    started = time.perf_counter() if due is None else due  # a late driver must not make a slow server look quick
    try:
        reply = await stub.Retrieve(replica.requests[number % len(replica.requests)], timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return (time.perf_counter() - started) * 1e3, False, True
    return (time.perf_counter() - started) * 1e3, not reply.degraded, False


def _step(rps: float, seen: Sequence[tuple[float, bool, bool]], cpu_s: float) -> Step:
    sample = Sample("", [milliseconds for milliseconds, _, refused in seen if not refused] or [math.inf])
    return Step(
        rps=round(rps, 2),
        p50_ms=round(sample.p50, 2),
        p95_ms=round(sample.p95, 2),
        full=round(sum(full for _, full, _ in seen) / len(seen), 4),
        refused=round(sum(refused for *_, refused in seen) / len(seen), 4),
        cpu_ms=round(cpu_s * 1e3, 2),
        requests=len(seen),
    )


@asynccontextmanager
async def _replica(folder: Path) -> AsyncIterator[Replica]:
    """A retriever on the first core; this process moves to the last one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("capacity needs two cores: one for the retriever, one for the driver")
    requests = await _requests()
    os.sched_setaffinity(0, cores[:1])  # inherited by the process started next
    process = await asyncio.to_thread(_start, folder)
    os.sched_setaffinity(0, cores[-1:])
    try:
        address = await asyncio.to_thread(_address, process)
        channels = [open_channel(address) for _ in range(CONNECTIONS)]
        try:
            yield Replica(process, [rpc.RetrieverServiceStub(channel) for channel in channels], requests)
        finally:
            for channel in channels:
                await channel.close()
    finally:
        process.terminate()
        process.wait(timeout=START_LIMIT_S)
        os.sched_setaffinity(0, cores)


def _start(folder: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "ASKMESH_RETRIEVER_LISTEN": "127.0.0.1:0",
        "ASKMESH_RETRIEVER_DATA_FOLDER": str(folder),
        "ASKMESH_RETRIEVER_LOG_LEVEL": "error",
        "ASKMESH_RETRIEVER_MAX_RETRIEVALS": "2",  # two for one core, as the default is two a core
    }
    command = [sys.executable, "-m", "askmesh", "serve", "retriever"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if "serves at" in line:
            return line.split()[-1]
    raise SystemExit("the retriever did not start")


async def _requests() -> list[pb.RetrieveRequest]:
    questions = corpus.questions(500)
    async with OnnxEmbedder.opened(await ensure_model(Precision.INT8), Precision.INT8) as embedder:
        made = []
        for question in questions:
            [vector] = await embedder.embed([question], budget=Budget.of(TIMEOUT_S))
            embedding = pb.QueryEmbedding(fingerprint=embedder.fingerprint, values=vector.tolist())
            made.append(pb.RetrieveRequest(collection=asks.COLLECTION, query=question, top_k=5, embedding=embedding))
    return made


def _print(steps: Sequence[Step]) -> None:
    print(f"{'rate /s':>9} {'p50 ms':>9} {'p95 ms':>9} {'both legs':>10} {'refused':>8} {'CPU ms':>8} {'requests':>9}")
    for step in steps:
        figures = f"{step.rps:9.1f} {step.p50_ms:9.1f} {step.p95_ms:9.1f} {step.full:10.1%} {step.refused:8.1%}"
        print(f"{figures} {step.cpu_ms:8.1f} {step.requests:9}")
    carried = knee(steps)
    verdict = "carries the original's" if carried >= ORIGINAL_RPS else "does not carry the original's"
    print(f"one replica on one core carries {carried:.0f}/s at p95 <= {ALLOWED_SLOWDOWN:g}x unloaded: ", end="")
    print(f"it {verdict} {ORIGINAL_RPS:.0f}/s; the ScaledObject's threshold is {target(steps)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
