"""How often the semantic cache would answer a question with the answer to another one, with the guard and without.

Quora's question pairs (dev split): a hit on a pair that is no duplicate is a false hit. The labels are noisy in both
directions ("How do I" and "How do you" are often labelled different), so precision has a ceiling below 1: most of the
45 false hits that were read asked the same thing. The guard's word lists were made while reading some 90 pairs of this
set; the rest it has not been fitted to.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chassis.budget import Budget
from embedding.ports import Embedder
from orchestrator.cache.guard import GUARD_VERSION, is_same_question

COSINES = (0.85, 0.90, 0.92, 0.94, 0.96, 0.98)
SHIPPED = 0.90  # the setting's default
PAIRS = 10_000  # of 40,370: enough for two digits, and a minute and a half to embed the first time
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


async def evaluate(folder: Path, embedder: Embedder) -> dict[str, float]:
    """Precision and share of the duplicates hit, per cosine, alone and with the guard."""
    pairs = await read(folder / "qqp_dev.jsonl.gz", PAIRS, embedder)
    figures: dict[str, float] = {"pairs": len(pairs)}
    for cosine in COSINES:
        for name, is_guarded in (("alone", False), ("guarded", True)):
            found = score(pairs, cosine, guarded=is_guarded)
            figures |= {f"{name}.{cosine:.2f}.precision": found.precision, f"{name}.{cosine:.2f}.recall": found.recall}
    shipped = f"{SHIPPED:.2f}.precision"
    return figures | {"gain": figures[f"guarded.{shipped}"] - figures[f"alone.{shipped}"]}


def table(figures: dict[str, float]) -> str:
    """The figures for people."""
    lines = [f"{figures['pairs']:.0f} pairs, {GUARD_VERSION}; precision / share of the duplicates hit"]
    lines.append("cosine    alone            with the guard")
    for cosine in COSINES:
        cells = [
            f"{figures[f'{name}.{cosine:.2f}.precision']:.3f} / {figures[f'{name}.{cosine:.2f}.recall']:.3f}"
            for name in ("alone", "guarded")
        ]
        mark = " <- shipped" if cosine == SHIPPED else ""
        lines.append(f"{cosine:.2f}      {cells[0]}    {cells[1]}{mark}")
    return "\n".join(lines)


async def read(file: Path, count: int, embedder: Embedder) -> list[Pair]:
    """The first `count` pairs with the cosine this system's own embedder gives them."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    rows = [row for row in rows if row["a"].strip() and row["b"].strip()]
    texts = sorted({text for row in rows for text in (row["a"], row["b"])})
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
