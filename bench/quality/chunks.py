"""How well chunks fit what is asked for: token recall, precision and IoU at top 5, beside a plain splitter.

Ours goes through the real parser, chunker, store and dense leg. The plain splitter cuts every 200 tokens of the same
tokenizer, without overlap, wherever that falls; its pieces are embedded by the same model and compared by the same
exact cosine. Both in one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from bench.quality.data import ExcerptCorpus, excerpt_corpora
from bench.quality.metrics import Overlap, TokenRuler, mean_overlap
from bench.quality.stack import embedded_stack
from chassis.budget import Budget
from embedding.ports import Embedder, TokenSpans
from retriever.types import Legs

TOP_K = 5
PLAIN_TOKENS = 200
BUDGET_S = 3600.0  # the first run embeds 2,000 pieces
HALVES = ("even", "odd", "whole")
MEASURES = ("recall", "precision", "iou")
Found = list[list[tuple[int, int]]]


async def evaluate(folder: Path, embedder: Embedder, tokens: TokenSpans) -> dict[str, float]:
    """Every figure by name: "finance.whole.ours.recall", "mean.odd.plain.iou", "mean.whole.recall_gain"."""
    values: dict[str, float] = {}
    names = []
    for corpus in excerpt_corpora(folder):
        names.append(corpus.name)
        ruler = TokenRuler(tokens.spans(corpus.text))
        for splitter, found in (
            ("ours", await _ours(corpus, embedder, tokens)),
            ("plain", await _plain(corpus, embedder, tokens)),
        ):
            overlaps = [
                (question.half, ruler.overlap(stretches, question.excerpts))
                for question, stretches in zip(corpus.questions, found, strict=True)
            ]
            values |= _means(overlaps, corpus.name, splitter)
    return values | _over_corpora(values, names)


def _means(overlaps: Sequence[tuple[str, Overlap]], corpus: str, splitter: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for half in HALVES:
        mean = mean_overlap(overlap for of, overlap in overlaps if half in {of, "whole"})
        values |= {f"{corpus}.{half}.{splitter}.{measure}": getattr(mean, measure) for measure in MEASURES}
    return values


def _over_corpora(values: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """The mean of the corpora, each counting the same, and how much better ours is."""
    means: dict[str, float] = {}
    for half in HALVES:
        for measure in MEASURES:
            for splitter in ("ours", "plain"):
                key = f"{half}.{splitter}.{measure}"
                means[f"mean.{key}"] = fmean(values[f"{name}.{key}"] for name in names)
            gain = means[f"mean.{half}.ours.{measure}"] - means[f"mean.{half}.plain.{measure}"]
            means[f"mean.{half}.{measure}_gain"] = gain
    return means


async def _ours(corpus: ExcerptCorpus, embedder: Embedder, tokens: TokenSpans) -> Found:
    async with embedded_stack(embedder, tokens) as stack:
        await stack.put(corpus.name, f"{corpus.name}.md", corpus.text, content_type="text/markdown")
        found = []
        for question in corpus.questions:
            passages = await stack.passages(corpus.name, question.text, TOP_K, legs=Legs.DENSE)
            found.append([(one.chunk.start_char, one.chunk.end_char) for one in passages])
        return found


async def _plain(corpus: ExcerptCorpus, embedder: Embedder, tokens: TokenSpans) -> Found:
    spans = tokens.spans(corpus.text)
    pieces = [
        (spans[first][0], spans[min(first + PLAIN_TOKENS, len(spans)) - 1][1])
        for first in range(0, len(spans), PLAIN_TOKENS)
    ]
    budget = Budget.of(BUDGET_S)
    vectors = await embedder.embed([corpus.text[start:end] for start, end in pieces], budget=budget)
    questions = await embedder.embed([question.text for question in corpus.questions], budget=budget)
    best = np.argsort(-(questions @ vectors.T), axis=1, kind="stable")[:, :TOP_K]
    return [[pieces[place] for place in row] for row in best]


def table(values: Mapping[str, float]) -> str:
    """Ours beside plain, per corpus, then the means of the corpora by half."""
    lines = [f"{'top 5, dense leg':22}" + "".join(f"{'ours ' + m:>16}{'plain':>8}" for m in MEASURES)]
    corpora = dict.fromkeys(name.split(".")[0] for name in values)
    rows = [(name, "whole") for name in corpora if name != "mean"] + [("mean", half) for half in HALVES]
    for name, half in rows:
        cells = "".join(
            f"{values[f'{name}.{half}.ours.{m}']:16.4f}{values[f'{name}.{half}.plain.{m}']:8.4f}" for m in MEASURES
        )
        lines.append(f"{name if name != 'mean' else 'mean ' + half:22}{cells}")
    return "\n".join(lines)
