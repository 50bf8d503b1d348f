"""`make bench`: latencies of a real installation beside the floors of the same run.

The corpus is ingested once per size, embedder and chunker into a cache outside the tree; later runs take a minute.
Exits with 1 when a goal is missed; `-o json` prints the figures for a program. `make bench ARGS=capacity` measures
what one retriever carries, `make bench ARGS=scaling` what the autoscaler makes of that,
`make bench ARGS=bulk` bulk ingestion.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from askmesh.client import AsyncClient
from bench import bulk
from bench.installation import Installation, start, stop
from bench.scaling import capacity, ramp
from bench.speed import asks, corpus, floors
from bench.speed.http import connected
from bench.speed.sample import Sample, measure
from chassis.errors import CollectionNotFound
from embedding.manifest import Precision, fingerprint
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from retriever.ingest.chunking import CHUNKER_VERSION

DOCUMENTS_A_BATCH = 40
DEFAULT_CHUNKS = 20_000

# p50 in milliseconds, from issue 3's "Shows"; on 2 cores with client and server sharing them.
GOALS_MS = {"REST first token, uncached": 60.0, "REST exact hit": 3.0}


def main() -> int:
    match sys.argv[1:]:
        case ["capacity", *arguments]:
            asyncio.run(_ready(DEFAULT_CHUNKS))
            return capacity.run(arguments, _folder(DEFAULT_CHUNKS))
        case ["scaling", *arguments]:
            return ramp.run(arguments)
        case ["bulk", *arguments]:
            return bulk.main(arguments)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--chunks", type=int, default=DEFAULT_CHUNKS, help="size of the corpus (default 20,000)")
    parser.add_argument("--asks", type=int, default=200, help="asks a measurement (default 200)")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    samples = asyncio.run(_run(options.chunks, options.asks))
    if options.output == "json":
        print(json.dumps([_figures(sample) for sample in samples], indent=2))
    else:
        _print(samples)
    return 0 if all(_is_met(sample) for sample in samples) else 1


async def _run(chunks: int, count: int) -> list[Sample]:
    questions = corpus.questions(count + 5)  # measure() warms up with the last five
    async with _installation(chunks) as made:
        _say(f"measuring {count} asks each on {chunks} chunks")
        samples = [await floors.echo(count * 5)]
        async with OnnxEmbedder.opened(await ensure_model(Precision.INT8), Precision.INT8) as embedder:
            samples.append(await floors.embed(embedder, questions))
        samples += await _over_grpc(made, questions, count)
        samples += await _over_rest(made, questions, count)
    return samples


async def _over_grpc(made: Installation, questions: list[str], count: int) -> list[Sample]:
    async with AsyncClient(made.grpc) as client:
        hit = await asks.answered(client, questions)
        return [
            await measure("gRPC retrieve, lexical", asks.retrieve(client, questions, "LEXICAL"), count=count),
            await measure("gRPC retrieve, dense", asks.retrieve(client, questions, "DENSE"), count=count),
            await measure("gRPC retrieve, hybrid", asks.retrieve(client, questions, "HYBRID"), count=count),
            await measure("gRPC first token, uncached", asks.grpc_first_token(client, questions), count=count),
            await measure("gRPC exact hit", asks.grpc_hit(client, hit), count=count * 2),
        ]


async def _over_rest(made: Installation, questions: list[str], count: int) -> list[Sample]:
    async with AsyncClient(made.grpc) as caller:
        hit = await asks.answered(caller, questions)
    async with connected(made.url) as http:
        return [
            await measure("REST first token, uncached", asks.rest_first_token(http, questions), count=count),
            await measure("REST exact hit", asks.rest_hit(http, hit), count=count * 2),
        ]


@asynccontextmanager
async def _installation(chunks: int) -> AsyncIterator[Installation]:
    """A running installation whose collection has at least `chunks` chunks."""
    folder = _folder(chunks)
    folder.mkdir(parents=True, exist_ok=True)
    made = await asyncio.to_thread(start, folder, "--no-demo")
    try:
        await _fill(made, chunks)
        yield made
    finally:
        await asyncio.to_thread(stop, made)


async def _ready(chunks: int) -> None:
    """The corpus is in its folder."""
    async with _installation(chunks):
        pass


async def _fill(made: Installation, chunks: int) -> None:
    async with AsyncClient(made.grpc, collection=asks.COLLECTION, timeout_s=120) as client:
        held = await _chunks_held(client)
        if held >= chunks:
            return
        started, stream = time.monotonic(), corpus.documents()
        while held < chunks:  # in batches: a stream is read ahead, by megabytes of documents
            async for result in client.ingest(list(itertools.islice(stream, DOCUMENTS_A_BATCH))):
                held += result.chunk_count if result.outcome == "STORED" else 0
            _say(f"ingesting: {held} of {chunks} chunks, {time.monotonic() - started:.0f} s")


async def _chunks_held(client: AsyncClient) -> int:
    try:
        return sum([document.chunk_count async for document in client.documents()])
    except CollectionNotFound:
        return 0


def _folder(chunks: int) -> Path:
    return _cache() / f"{fingerprint(Precision.INT8).replace('/', '-')}-c{CHUNKER_VERSION}-{chunks}"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "askmesh-bench"


def _figures(sample: Sample) -> dict[str, object]:
    figures: dict[str, object] = {"name": sample.name, "count": len(sample.milliseconds)}
    figures |= {"p50_ms": sample.p50, "p95_ms": sample.p95, "p99_ms": sample.p99}
    if sample.name in GOALS_MS:
        figures |= {"goal_p50_ms": GOALS_MS[sample.name], "is_met": _is_met(sample)}
    return figures


def _is_met(sample: Sample) -> bool:
    return sample.p50 <= GOALS_MS.get(sample.name, float("inf"))


def _print(samples: list[Sample]) -> None:
    echo = samples[0].p50
    width = min(shutil.get_terminal_size().columns, 100)
    print(f"{'measurement':32} {'p50 ms':>9} {'p95 ms':>9} {'p99 ms':>9} {'x echo':>8}  goal".ljust(width))
    for sample in samples:
        goal = GOALS_MS.get(sample.name)
        verdict = "" if goal is None else f"p50 <= {goal:g} ms: {'met' if _is_met(sample) else 'MISSED'}"
        figures = f"{sample.p50:9.2f} {sample.p95:9.2f} {sample.p99:9.2f} {sample.p50 / echo:8.1f}"
        print(f"{sample.name:32} {figures}  {verdict}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
