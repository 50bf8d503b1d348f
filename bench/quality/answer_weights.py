"""Fits what orchestrator.evidence and orchestrator.grounding weigh with, on the even half of XQuAD-en.

`python -m bench.quality.answer_weights` prints the weights that stand there as constants; run it after a change of
their features, copy, then measure both halves with bench.quality.answers.
Ranking: softmax over a question's sentences, the target being those of the right paragraph that hold the gold answer.
Answerability: logistic, the even questions asked of XQuAD against the same asked of finance, both weighing the same.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.quality.answers import FINANCE, TOP_K, XQUAD, Asked, Corpora, load, normalised, source_of
from bench.quality.data import data_folder
from bench.quality.stack import Stack, embedded_stack
from bench.quality.vectors import CachedEmbedder
from chassis.budget import Budget
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from embedding.ports import Embedder
from orchestrator.evidence import Signals, candidates, read
from orchestrator.types import Source

Floats = NDArray[np.float64]

STEPS = 1_500  # of full-batch Adam; the loss moves in its fifth digit by then
RATE = 0.05
RIDGE = 2e-3  # keeps the few weights near each other where the data does not tell them apart
NEWTON_STEPS = 40


@dataclass(frozen=True, slots=True)
class Ranked:
    """One question's sentences: features with the cosine last, and which of them hold the answer."""

    features: Floats
    is_right: NDArray[np.bool_]


class Samples:
    """Reads the even half through the real retrieval."""

    def __init__(self, stack: Stack, embedder: Embedder, corpora: Corpora) -> None:
        self._stack = stack
        self._embedder = embedder
        self._asked = [one for one in corpora.asked if one.half == "even"]

    async def ranked(self) -> list[Ranked]:
        samples = [await self._ranked(one) for one in self._asked]
        return [one for one in samples if one.is_right.any() and not one.is_right.all()]

    async def signals(self, collection: str) -> list[Signals]:
        return [await self._signals(collection, one.text) for one in self._asked]

    async def _ranked(self, asked: Asked) -> Ranked:
        found, _ = candidates(asked.text, await self._sources(XQUAD, asked.text))
        cosines = await self._cosines(asked.text, [one.embed_text for one in found])
        golds = [normalised(gold) for gold in asked.golds]
        right = [
            one.source.document_id == asked.document_id and any(gold in normalised(one.text) for gold in golds)
            for one in found
        ]
        rows = [(*one.features, cosine) for one, cosine in zip(found, cosines, strict=True)]
        return Ranked(np.array(rows), np.array(right))

    async def _signals(self, collection: str, question: str) -> Signals:
        reading = read(question, await self._sources(collection, question))
        return reading.judged(await self._cosines(question, [one.embed_text for one in reading.shortlist]))

    async def _sources(self, collection: str, question: str) -> list[Source]:
        passages = await self._stack.passages(collection, question, TOP_K)
        return [source_of(marker, passage) for marker, passage in enumerate(passages, 1)]

    async def _cosines(self, question: str, texts: Sequence[str]) -> list[float]:
        vectors = await self._embedder.embed([question, *texts], budget=Budget.of(60))
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines


def fit_ranking(samples: Sequence[Ranked], columns: Sequence[int]) -> Floats:
    """Weights that make the right sentences likely: full-batch Adam on the softmax's log likelihood."""
    weights = np.zeros(len(columns))
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        gradient = sum((_gradient(one, columns, weights) for one in samples), RIDGE * weights * len(samples))
        gradient /= len(samples)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        weights -= RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return weights


def fit_logistic(found: Floats, absent: Floats) -> Floats:
    """Bias and weights that tell the two apart, by Newton's method, both sides weighing the same."""
    rows = np.vstack([found, absent])
    rows = np.hstack([np.ones((len(rows), 1)), rows])
    target = np.r_[np.ones(len(found)), np.zeros(len(absent))]
    share = np.r_[np.full(len(found), 0.5 / len(found)), np.full(len(absent), 0.5 / len(absent))]
    weights = np.zeros(rows.shape[1])
    ridge = 1e-4 * np.eye(len(weights))
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (share * (chance - target)) + ridge @ weights
        curve = (rows * (share * chance * (1 - chance))[:, None]).T @ rows + ridge
        weights -= np.linalg.solve(curve, slope)
    return weights


def _gradient(one: Ranked, columns: Sequence[int], weights: Floats) -> Floats:
    features = one.features[:, columns]
    scores = features @ weights
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    right = chances * one.is_right
    gradient: Floats = features.T @ (chances - right / right.sum())
    return gradient


async def _fit(embedder: CachedEmbedder, corpora: Corpora, tokens: OnnxEmbedder) -> None:
    async with embedded_stack(embedder, tokens.tokenizer) as stack:
        await stack.put_all(corpora.documents)
        samples = Samples(stack, embedder, corpora)
        ranked = await samples.ranked()
        at_home, abroad = await samples.signals(XQUAD), await samples.signals(FINANCE)
    count = ranked[0].features.shape[1]
    _show("evidence.HYBRID_WEIGHTS, COSINE_WEIGHT", fit_ranking(ranked, range(count)))
    _show("evidence.LEXICAL_WEIGHTS", fit_ranking(ranked, range(count - 1)))
    dense = ("passage_cosine", "sentence_cosine", "passage_coverage", "name_coverage")
    lexical = ("passage_coverage", "sentence_coverage", "name_coverage")
    _show("grounding.DENSE_BIAS, DENSE_WEIGHTS", fit_logistic(_columns(at_home, dense), _columns(abroad, dense)))
    _show(
        "grounding.LEXICAL_BIAS, LEXICAL_WEIGHTS", fit_logistic(_columns(at_home, lexical), _columns(abroad, lexical))
    )


def _columns(signals: Sequence[Signals], names: Sequence[str]) -> Floats:
    return np.array([[getattr(one, name) or 0.0 for name in names] for one in signals])


def _show(name: str, weights: Floats) -> None:
    print(f"{name}: {', '.join(f'{weight:.2f}' for weight in weights)}")


async def _main() -> int:
    folder = data_folder()
    if folder is None:
        print("no evaluation data: set ASKMESH_EVAL_DATA", file=sys.stderr)
        return 1
    files = await ensure_model(Precision.INT8)
    async with OnnxEmbedder.opened(files, Precision.INT8) as model, CachedEmbedder.opened(model) as embedder:
        await _fit(embedder, load(folder), model)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
