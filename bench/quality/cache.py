"""How often the semantic cache would answer a question with the answer to another one, with the guard and without.

Quora's question pairs (dev split): a hit on a pair that is no duplicate is a false hit. The labels are noisy in both
directions ("How do I" and "How do you" are often labelled different), so precision has a ceiling below 1: most of the
45 false hits that were read asked the same thing. The guard's word lists were made while reading some 90 pairs of this
set; the rest it has not been fitted to.

`python -m bench.quality.cache` prints the table and exits with 1 when a threshold is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.quality.data import data_folder
from chassis.budget import Budget
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from orchestrator.cache.guard import GUARD_VERSION, is_same_question

COSINES = (0.85, 0.90, 0.92, 0.94, 0.96, 0.98)
SHIPPED = 0.90  # the setting's default
MIN_PRECISION = 0.89  # at SHIPPED with the guard; .908 on all 40,370 pairs, cosine alone .798
MIN_GAIN = 0.08  # over cosine alone, same pairs
MIN_RECALL = 0.12  # of the duplicates: a guard that refuses everything is precise too; .140 on all pairs
EMBED_S = 600.0  # 20,000 pairs take about a minute


@dataclass(frozen=True, slots=True)
class Pair:
    first: str
    second: str
    is_duplicate: bool
    cosine: float


@dataclass(frozen=True, slots=True)
class Score:
    precision: float
    recall: float
    hits: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quality.cache", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000, help="the first so many (all: 40,370)")
    options = parser.parse_args()
    folder = data_folder()
    if folder is None or not (folder / "qqp_dev.jsonl.gz").is_file():
        print("qqp_dev.jsonl.gz is not here: set ASKMESH_EVAL_DATA", file=sys.stderr)
        return 0
    pairs = asyncio.run(read(folder / "qqp_dev.jsonl.gz", options.pairs))
    _print(pairs)
    return 0 if _is_met(pairs) else 1


async def read(file: Path, count: int) -> list[Pair]:
    """The first `count` pairs with the cosine this system's own embedder gives them."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    rows = [row for row in rows if row["a"].strip() and row["b"].strip()]
    texts = sorted({text for row in rows for text in (row["a"], row["b"])})
    async with OnnxEmbedder.opened(await ensure_model(Precision.INT8), Precision.INT8) as embedder:
        vectors = dict(zip(texts, await embedder.embed(texts, budget=Budget.of(EMBED_S)), strict=True))
    return [
        Pair(row["a"], row["b"], bool(row["duplicate"]), float(np.dot(vectors[row["a"]], vectors[row["b"]])))
        for row in rows
    ]


def score(pairs: Sequence[Pair], cosine: float, *, guarded: bool) -> Score:
    """What a cache that hits from `cosine` on would do."""
    near = [pair for pair in pairs if pair.cosine >= cosine]
    hits = [pair for pair in near if not guarded or is_same_question(pair.first, pair.second)]
    right = sum(pair.is_duplicate for pair in hits)
    duplicates = sum(pair.is_duplicate for pair in pairs)
    return Score(right / max(1, len(hits)), right / max(1, duplicates), len(hits))


def _is_met(pairs: Sequence[Pair]) -> bool:
    alone, guarded = score(pairs, SHIPPED, guarded=False), score(pairs, SHIPPED, guarded=True)
    is_better = guarded.precision - alone.precision >= MIN_GAIN
    return guarded.precision >= MIN_PRECISION and guarded.recall >= MIN_RECALL and is_better


def _print(pairs: Sequence[Pair]) -> None:
    print(f"{len(pairs)} pairs, {GUARD_VERSION}; precision / share of the duplicates hit")
    print("cosine    alone            with the guard")
    for cosine in COSINES:
        alone, guarded = score(pairs, cosine, guarded=False), score(pairs, cosine, guarded=True)
        mark = " <- shipped" if cosine == SHIPPED else ""
        print(
            f"{cosine:.2f}      {alone.precision:.3f} / {alone.recall:.3f}    "
            f"{guarded.precision:.3f} / {guarded.recall:.3f}{mark}"
        )


if __name__ == "__main__":
    sys.exit(main())
