"""The golden set: questions about this project's own docs/, for where the evaluation data is absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.quality.stack import Stack, embedded_stack
from embedding.ports import Embedder, TokenSpans

FILE = Path(__file__).with_name("golden.jsonl")
DOCS = Path(__file__).parents[2] / "docs"
COLLECTION = "docs"
TOP_K = 5


@dataclass(frozen=True, slots=True)
class GoldenQuestion:
    """A question, the page that answers it, and words that stand in the answer (white space does not count)."""

    question: str
    document: str
    phrase: str


def golden_questions(file: Path = FILE) -> list[GoldenQuestion]:
    """Every question, one JSON object a line."""
    return [GoldenQuestion(**json.loads(line)) for line in file.read_text().splitlines() if line.strip()]


async def evaluate(embedder: Embedder, tokens: TokenSpans | None, docs: Path = DOCS) -> dict[str, float]:
    """How often the page ("found") and the phrase ("phrase") are among the first five passages."""
    async with embedded_stack(embedder, tokens) as stack:
        for name, text in _pages(docs):
            await stack.put(COLLECTION, name, text, content_type="text/markdown")
        results = [await _ask(stack, golden) for golden in golden_questions()]
    return {"found": fmean(found for found, _ in results), "phrase": fmean(phrase for _, phrase in results)}


def _pages(docs: Path) -> list[tuple[str, str]]:
    return [(page.name, page.read_text()) for page in sorted(docs.glob("*.md"))]


async def _ask(stack: Stack, golden: GoldenQuestion) -> tuple[bool, bool]:
    passages = await stack.passages(COLLECTION, golden.question, TOP_K)
    own = [passage for passage in passages if passage.document.document_id == golden.document]
    wanted = _flat(golden.phrase)
    return bool(own), any(wanted in _flat(passage.chunk.text) for passage in own)


def _flat(text: str) -> str:
    return " ".join(text.split()).lower()


def table(values: Mapping[str, float]) -> str:
    """Both figures on a line."""
    return f"own docs, first {TOP_K}: page found {values['found']:.3f}, phrase found {values['phrase']:.3f}"
