"""`make eval`: quality of retrieval, chunks and answers against thresholds.toml; exits with 1 when one is missed.

Parts: retrieval, chunking, answers, cache (they need the evaluation data), golden (this project's own docs/). None
means all of these that can be measured here. Measured only when named: cluster (retrieval on Weaviate and OpenSearch
of the rig, which --search cluster names too) and, held to nothing, weights (how fusion's weights were chosen) and
reranking (what the packaged reranking model adds).
The data is read from $ASKMESH_EVAL_DATA, or ../shared/data when that is there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from askmesh.rig.part import RigMissing
from askmesh.rig.process import RigFailed
from bench.quality import answers, cache, chunks, cluster, golden, reranking, retrieval
from bench.quality.data import DATA_VARIABLE, data_folder
from bench.quality.thresholds import verdicts
from bench.quality.vectors import CachedEmbedder
from chassis.errors import EmbedderUnavailable, InvalidRequest
from embedding.manifest import Graph, Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from embedding.ports import Embedder, TokenSpans
from retriever.reranking.onnx import OnnxReranker

DATA_PARTS = ("retrieval", "chunking", "answers", "cache")
PARTS = (*DATA_PARTS, "golden", "cluster", "weights", "reranking")
OK, MISSED, UNUSABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Bench:
    """What a part measures with; the folder is None where there is no data."""

    folder: Path | None
    embedder: Embedder
    tokens: TokenSpans

    @property
    def data(self) -> Path:
        if self.folder is None:
            raise InvalidRequest(f"there is no evaluation data: set {DATA_VARIABLE} to the folder that holds it")
        return self.folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="askmesh eval", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--search", choices=("embedded", "cluster"), help="cluster: retrieval, there and nothing else")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    folder = data_folder()
    parts = options.parts or _default(folder)
    if options.search == "cluster":
        if elsewhere := set(options.parts) - {"retrieval", "cluster"}:
            parser.error(f"--search cluster measures retrieval alone; leave out {', '.join(sorted(elsewhere))}")
        parts = ["cluster"]
    if folder is None:
        print(f"no evaluation data ({DATA_VARIABLE} names none): only the golden set is measured", file=sys.stderr)
    try:
        return asyncio.run(_run(parts, folder, as_json=options.output == "json"))
    except (EmbedderUnavailable, InvalidRequest) as error:
        print(f"cannot be measured: {error.message}", file=sys.stderr)
    except (RigMissing, RigFailed) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
    return UNUSABLE


def _default(folder: Path | None) -> list[str]:
    return [*DATA_PARTS, "golden"] if folder else ["golden"]


async def _run(parts: Sequence[str], folder: Path | None, *, as_json: bool) -> int:
    files = await ensure_model(Precision.INT8)
    is_met = True
    figures: dict[str, dict[str, float]] = {}
    async with OnnxEmbedder.opened(files, Precision.INT8) as model, CachedEmbedder.opened(model) as embedder:
        bench = _Bench(folder, embedder, model.tokenizer)
        for part in parts:
            start = time.monotonic()
            print(f"{part} ...", file=sys.stderr)
            figures[part], text = await _measure(part, bench)
            results = verdicts(part, figures[part])
            is_met = is_met and all(result.is_met for result in results)
            if not as_json:
                print("\n".join([text, "", *map(str, results), f"{part}: {time.monotonic() - start:.0f} s", ""]))
    if as_json:
        print(json.dumps(figures, indent=2))
    return OK if is_met else MISSED


async def _measure(part: str, bench: _Bench) -> tuple[dict[str, float], str]:
    """The figures of one part, and their table."""
    match part:
        case "retrieval":
            values = retrieval.figures(await retrieval.ask_all(bench.data, bench.embedder, bench.tokens))
            return values, retrieval.table(values)
        case "chunking":
            values = await chunks.evaluate(bench.data, bench.embedder, bench.tokens)
            return values, chunks.table(values)
        case "answers":
            values = await answers.evaluate(bench.data, bench.embedder, bench.tokens)
            return values, answers.table(values)
        case "cache":
            values = await cache.evaluate(bench.data, bench.embedder)
            return values, cache.table(values)
        case "cluster":
            values = await cluster.evaluate(bench.data, bench.embedder, bench.tokens)
            return values, cluster.text_of(values)
        case "golden":
            values = await golden.evaluate(bench.embedder, bench.tokens)
            return values, golden.table(values)
        case "reranking":
            values = await _reranked(bench)
            return values, reranking.table(values)
        case _:
            asked = await retrieval.ask_all(bench.data, bench.embedder, bench.tokens)
            return {}, retrieval.weights_table(asked)


async def _reranked(bench: _Bench) -> dict[str, float]:
    files = await ensure_model(Precision.INT8, Graph.LATE_INTERACTION)
    async with OnnxReranker.opened(files, Precision.INT8) as reranker:
        return await reranking.evaluate(bench.data, bench.embedder, bench.tokens, reranker)


if __name__ == "__main__":
    sys.exit(main())
