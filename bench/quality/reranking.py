"""What a reranker adds to the fused order, corpus by corpus: nDCG@10 with and without, through the real adapter.

Measured with the model that is packaged (embedding/late_interaction.py); another one's session can stand in its place.
A sample of each corpus, every n-th question: each costs a model's run per candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from bench.quality.metrics import judge
from bench.quality.retrieval import Asked, ask_all
from chassis.budget import Budget
from embedding.ports import Embedder, TokenSpans
from retriever.ports import Reranker
from retriever.types import Passage

DEPTHS = (8, 30)  # what two cores judge inside a timebox, and the setting's default for a GPU
SAMPLE = 100  # questions of a corpus: some 5 minutes on two idle cores for all ten
BUDGET_S = 600.0


async def evaluate(folder: Path, embedder: Embedder, tokens: TokenSpans | None, reranker: Reranker) -> dict[str, float]:
    """By name: "xquad.fused", "finance.top8", "worst_gain.top30"; all nDCG@10."""
    asked = await ask_all(folder, embedder, tokens)
    figures: dict[str, float] = {}
    for corpus in dict.fromkeys(one.corpus for one in asked):
        own = [one for one in asked if one.corpus == corpus]
        sample = own[:: max(1, len(own) // SAMPLE)]
        rows = [await _row(one, reranker) for one in sample]
        figures |= {f"{corpus}.{name}": fmean(row[name] for row in rows) for name in rows[0]}
    for depth in DEPTHS:
        gains = [value - figures[name.replace(f"top{depth}", "fused")] for name, value in _of(figures, depth)]
        figures[f"worst_gain.top{depth}"] = min(gains)
    return figures


def table(figures: Mapping[str, float]) -> str:
    """One line per corpus."""
    columns = [f"top{depth}" for depth in DEPTHS]
    lines = [f"{'nDCG@10':18}{'fused':>10}" + "".join(f"{f'{name} reranked':>18}" for name in columns)]
    for name, fused in figures.items():
        corpus, _, column = name.rpartition(".")
        if column == "fused":
            changes = (figures[f"{corpus}.{each}"] - fused for each in columns)
            lines.append(f"{corpus:18}{fused:10.4f}" + "".join(f"{change:+18.4f}" for change in changes))
    return "\n".join(lines)


def _of(figures: Mapping[str, float], depth: int) -> list[tuple[str, float]]:
    return [(name, value) for name, value in figures.items() if name.endswith(f".top{depth}")]


async def _row(asked: Asked, reranker: Reranker) -> dict[str, float]:
    fused = asked.found["hybrid"]
    first = fused[: max(DEPTHS)]
    judged = await reranker.rerank(asked.question, first, budget=Budget.of(BUDGET_S)) if first else []
    row = {"fused": _ndcg(asked, fused)}
    for depth in DEPTHS:
        chosen = {passage.chunk.chunk_id for passage in first[:depth]}
        order = [passage for passage in judged if passage.chunk.chunk_id in chosen]
        row[f"top{depth}"] = _ndcg(asked, [*order, *fused[depth:]])
    return row


def _ndcg(asked: Asked, passages: Sequence[Passage]) -> float:
    return judge(asked.ids(passages), asked.relevant).ndcg10
