"""How well the right passage is found, leg by leg: through the real parser, chunker, embedder, stores and fusion.

XQuAD-en is measured as documents (a document's rank is its best chunk's), the corpora of chunking_evaluation as chunks
(a chunk is right when it holds most of an excerpt). Fusion's weights were chosen on XQuAD's even articles alone; every
other row is a check on text they have not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from bench.quality.data import ExcerptCorpus, PassageCorpus, excerpt_corpora, xquad
from bench.quality.metrics import METRICS, Ranking, judge, mean_of
from bench.quality.stack import Stack, embedded_stack
from bench.quality.variants import variants
from embedding.ports import Embedder, TokenSpans
from retriever.fusion import LEG_DEPTH, FusionWeights, fuse
from retriever.types import Hit, Legs, Passage

LEGS = {"dense": Legs.DENSE, "lexical": Legs.LEXICAL, "hybrid": Legs.HYBRID}
XQUAD = "xquad"
WRITERS = 8  # documents put at the same time; they share transactions
# A chunk answers when it holds this share of an excerpt's characters: the part that a reader needs, cut by one border.
EXCERPT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: what each leg returned, and what would have been right."""

    corpus: str
    half: str
    relevant: frozenset[str]
    found: Mapping[str, tuple[Passage, ...]]
    by_chunk: bool  # relevant holds chunk ids, not document ids
    question: str

    def ranking(self, leg: str) -> Ranking:
        return judge(self.ids(self.found[leg]), self.relevant)

    def ids(self, passages: Iterable[Passage]) -> list[str]:
        """Documents or chunks, each once, at its best chunk's place."""
        names = (one.chunk.chunk_id if self.by_chunk else one.document.document_id for one in passages)
        return list(dict.fromkeys(names))


async def ask_all(folder: Path, embedder: Embedder, tokens: TokenSpans | None) -> list[Asked]:
    """Ingest every corpus and ask every question on every leg of the embedded leaves."""
    async with embedded_stack(embedder, tokens) as stack:
        return await ask_stack(stack, folder)


async def ask_stack(stack: Stack, folder: Path) -> list[Asked]:
    """The same of any leaves."""
    asked = await ask_xquad(stack, folder)
    for corpus in variants(xquad(folder)):
        asked += [one async for one in _ask_documents(stack, corpus, XQUAD)]
    for text in excerpt_corpora(folder):
        await stack.put(text.name, f"{text.name}.md", text.text, content_type="text/markdown")
        asked += [one async for one in _ask_chunks(stack, text)]
    return asked


async def ask_xquad(stack: Stack, folder: Path) -> list[Asked]:
    """Ingest XQuAD alone and ask its own questions."""
    corpus = xquad(folder)
    await _ingest(stack, corpus)
    return [one async for one in _ask_documents(stack, corpus, corpus.name)]


async def _ingest(stack: Stack, corpus: PassageCorpus) -> None:
    waiting = iter(corpus.documents.items())

    async def write() -> None:
        for document_id, text in waiting:
            await stack.put(corpus.name, document_id, text)

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write())


async def _ask_documents(stack: Stack, corpus: PassageCorpus, collection: str) -> AsyncIterator[Asked]:
    for question in corpus.questions:
        found = await _legs(stack, collection, question.text)
        yield Asked(corpus.name, question.half, question.answers, found, by_chunk=False, question=question.text)


async def _ask_chunks(stack: Stack, corpus: ExcerptCorpus) -> AsyncIterator[Asked]:
    """Which chunks are right depends on where they were cut: of those that any leg found, the ones with an excerpt."""
    chunks: dict[str, tuple[int, int]] = {}
    answers: list[tuple[str, Mapping[str, tuple[Passage, ...]]]] = []
    for question in corpus.questions:
        found = await _legs(stack, corpus.name, question.text)
        answers.append((question.half, found))
        for passage in (*found["dense"], *found["lexical"]):
            chunks[passage.chunk.chunk_id] = (passage.chunk.start_char, passage.chunk.end_char)
    for question, (half, found) in zip(corpus.questions, answers, strict=True):
        right = {chunk_id for chunk_id, span in chunks.items() if _holds(span, question.excerpts)}
        if right:
            yield Asked(corpus.name, half, frozenset(right), found, by_chunk=True, question=question.text)


def _holds(chunk: tuple[int, int], excerpts: Iterable[tuple[int, int]]) -> bool:
    return any(min(chunk[1], end) - max(chunk[0], start) > EXCERPT_SHARE * (end - start) for start, end in excerpts)


async def _legs(stack: Stack, collection: str, question: str) -> Mapping[str, tuple[Passage, ...]]:
    return {name: await stack.passages(collection, question, LEG_DEPTH, legs=legs) for name, legs in LEGS.items()}


def figures(asked: Sequence[Asked]) -> dict[str, float]:
    """Every figure by name: "xquad.odd.hybrid.ndcg10", "finance.whole.margin", "worst_margin"."""
    result: dict[str, float] = {}
    for corpus in dict.fromkeys(one.corpus for one in asked):
        own = [one for one in asked if one.corpus == corpus]
        for half in ("even", "odd", "whole"):
            part = [one for one in own if half in {one.half, "whole"}]
            means = {leg: mean_of(one.ranking(leg) for one in part) for leg in LEGS}
            for leg, mean in means.items():
                result |= {f"{corpus}.{half}.{leg}.{name}": getattr(mean, name) for name in METRICS}
            better = max(means["dense"].ndcg10, means["lexical"].ndcg10)
            result[f"{corpus}.{half}.margin"] = means["hybrid"].ndcg10 - better
    result["worst_margin"] = min(value for name, value in result.items() if name.endswith(".whole.margin"))
    return result


def table(values: Mapping[str, float]) -> str:
    """XQuAD's halves leg by leg, then nDCG@10 of every corpus."""
    lines = [f"{'XQuAD-en':18}" + "".join(f"{name:>10}" for name in METRICS)]
    for half in ("even", "odd", "whole"):
        for leg in LEGS:
            cells = "".join(f"{values[f'xquad.{half}.{leg}.{name}']:10.4f}" for name in METRICS)
            lines.append(f"{half + ' ' + leg:18}{cells}")
    lines += ["", f"{'nDCG@10':18}" + "".join(f"{leg:>10}" for leg in LEGS) + f"{'margin':>10}"]
    for corpus in dict.fromkeys(name.split(".")[0] for name in values if name.endswith(".whole.margin")):
        cells = "".join(f"{values[f'{corpus}.whole.{leg}.ndcg10']:10.4f}" for leg in LEGS)
        lines.append(f"{corpus:18}{cells}{values[f'{corpus}.whole.margin']:+10.4f}")
    return "\n".join(lines)


def refused(asked: Iterable[Asked], weights: FusionWeights) -> list[Asked]:
    """The same questions with the legs' hits fused by other weights: what a choice of weights is made from."""
    changed = []
    for one in asked:
        legs = [_hits(one.found[leg], leg)[: weights.depth] for leg in ("dense", "lexical")]
        found = {**one.found, "hybrid": tuple(fuse(legs[0], legs[1], LEG_DEPTH, weights))}
        changed.append(replace(one, found=found))
    return changed


def _hits(passages: Iterable[Passage], leg: str) -> list[Hit]:
    """A single leg's passages as the leg gave them."""
    scored = ((passage, getattr(passage, leg)) for passage in passages)
    return [Hit(passage.chunk, passage.document, score.score) for passage, score in scored]


def weights_table(asked: Sequence[Asked]) -> str:
    """The choice of weights, as it was made: nDCG@10 on XQuAD's even articles; beside it what was not looked at."""
    even = [one for one in asked if one.corpus == "xquad" and one.half == "even"]
    lines = [f"{'changed':26}{'even':>9}{'odd':>9}{'worst margin':>14}{'mean margin':>13}"]
    for name, weights in _grid():
        best = mean_of(one.ranking("hybrid") for one in refused(even, weights))
        values = figures(refused(asked, weights))
        margins = [value for name, value in values.items() if name.endswith(".whole.margin")]
        lines.append(
            f"{name:26}{best.ndcg10:9.4f}{values['xquad.odd.hybrid.ndcg10']:9.4f}"
            f"{min(margins):14.4f}{fmean(margins):13.4f}"
        )
    return "\n".join(lines)


def _grid() -> Iterator[tuple[str, FusionWeights]]:
    """The default weights, then each number changed alone."""
    default = FusionWeights()
    yield "nothing", default
    changes: dict[str, tuple[float, ...]] = {
        "dense": (0.5, 0.6, 0.65, 0.75, 0.8),
        "dense_spread_at": (5, 20),
        "lexical_spread_at": (10, 20, 40),
        "dense_caution": (1.0, 1.5),
        "contrast": (1.0, 3.0),
        "depth": (30,),
    }
    for name, values in changes.items():
        for value in values:
            yield f"{name} {value:g}", FusionWeights(**{**asdict(default), name: value})
