"""How good extractive answers are: through the real retrieval, prompt, generator and citations.

Measured on XQuAD-en's two halves (weights were fitted on the articles with even numbers, the odd ones are only
measured): - contained: the gold answer is in the text, both normalised as SQuAD's evaluation does (case, punctuation,
articles). - mean_words: of all answers, markers not counted.
- not_found: answers that say the sources do not answer; false ones here, right ones when the same questions are asked
  of a corpus that knows nothing about them (finance).
- quotes_verbatim: citations whose quote is the document's text at its offsets.
- supported: answers that orchestrator.grounding judges SUPPORTED, among those that answer.
Source: normalisation after Rajpurkar et al. 2016, section 6.1 (exact match).
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.quality.stack import Stack, embedded_stack
from chassis.budget import Budget
from embedding.ports import Embedder, TokenSpans
from orchestrator.citations import CitationStream
from orchestrator.generation.extractive import ExtractiveGenerator
from orchestrator.grounding import assess
from orchestrator.prompt import PromptBuilder
from orchestrator.tokens import EstimatedTokenCounter
from orchestrator.types import CitationAdded, FinishReason, GenerationEnd, Grounding, Sampling, Source
from retriever.types import Passage

__all__ = ["evaluate", "load", "normalised", "source_of", "table"]

TOP_K = 5
XQUAD = "xquad"
FINANCE = "finance"
HALVES = ("even", "odd")  # by the article's number; even = fitted


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its gold answers, the paragraph they are in, and the half its article belongs to."""

    text: str
    golds: tuple[str, ...]
    document_id: str
    half: str


@dataclass(frozen=True, slots=True)
class Outcome:
    is_contained: bool
    word_count: int
    is_not_found: bool
    is_supported: bool
    quotes: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Corpora:
    """What is asked, and the documents by collection and id."""

    asked: Sequence[Asked]
    documents: Mapping[str, Mapping[str, str]]


async def evaluate(folder: Path, embedder: Embedder, tokens: TokenSpans | None = None) -> dict[str, float]:
    """Every figure by name: "even.contained", "whole.mean_words", "finance.odd.not_found" ...

    Args:
        folder: With xquad.en.json and chunking_evaluation/corpora/finance.md.
        embedder: Of the retrieval and of the generator.
        tokens: The chunker's; None lets it estimate.
    """
    corpora = load(folder)
    async with embedded_stack(embedder, tokens) as stack:
        await stack.put_all(corpora.documents)
        answering = _Answering(stack, embedder, corpora.documents)
        at_home = [(one.half, await answering.outcome(XQUAD, one)) for one in corpora.asked]
        abroad = [(one.half, await answering.outcome(FINANCE, one)) for one in corpora.asked]
    figures: dict[str, float] = {}
    for half in (*HALVES, "whole"):
        figures |= {f"{half}.{name}": value for name, value in _figures(_of(half, at_home)).items()}
        figures[f"{FINANCE}.{half}.not_found"] = fmean(one.is_not_found for one in _of(half, abroad))
    quoted = [quote for _, one in at_home + abroad for quote in one.quotes]
    figures["quotes_verbatim"] = fmean(quoted)
    return figures


def table(figures: Mapping[str, float]) -> str:
    """The figures as a table, one line per half."""
    columns = ("contained", "mean_words", "not_found", "supported")
    lines = [f"{'XQuAD-en':10}" + "".join(f"{name:>20}" for name in (*columns, "finance not_found"))]
    for half in (*HALVES, "whole"):
        values = [*(figures[f"{half}.{name}"] for name in columns), figures[f"{FINANCE}.{half}.not_found"]]
        lines.append(f"{half:10}" + "".join(f"{value:20.4g}" for value in values))
    return "\n".join([*lines, f"quotes verbatim at their offsets: {figures['quotes_verbatim']:.2%}"])


class _Answering:
    """Asks one question the way the orchestrator does, without its cache, flights and wire."""

    def __init__(self, stack: Stack, embedder: Embedder, documents: Mapping[str, Mapping[str, str]]) -> None:
        self._stack = stack
        self._documents = documents
        self._generator = ExtractiveGenerator(embedder)
        self._prompts = PromptBuilder(EstimatedTokenCounter(), self._generator.model.context_tokens)

    async def outcome(self, collection: str, asked: Asked) -> Outcome:
        passages = await self._stack.passages(collection, asked.text, TOP_K)
        sources = [source_of(marker, passage) for marker, passage in enumerate(passages, 1)]
        sampling = Sampling()
        prompt = self._prompts.build(asked.text, sources, sampling.max_tokens)
        stream = CitationStream(prompt.sources)
        reason, quotes = FinishReason.ERROR, list[bool]()
        async for event in self._generator.generate(prompt, sampling, budget=Budget.of(60)):
            if isinstance(event, GenerationEnd):
                reason, events = event.finish_reason, stream.finish()
            else:
                events = stream.push(event.text)
            quotes += [self._is_verbatim(collection, one) for one in events if isinstance(one, CitationAdded)]
        said = re.sub(r" ?\[\d+\]", "", stream.text)
        is_not_found = reason is FinishReason.NOT_FOUND
        return Outcome(
            is_contained=not is_not_found and any(normalised(gold) in normalised(said) for gold in asked.golds),
            word_count=len(said.split()),
            is_not_found=is_not_found,
            is_supported=assess(asked.text, stream.text, prompt.sources, reason) is Grounding.SUPPORTED,
            quotes=tuple(quotes),
        )

    def _is_verbatim(self, collection: str, event: CitationAdded) -> bool:
        """Plain text is stored as it is, so the document's own text is the judge of offsets."""
        citation = event.citation
        text = self._documents[collection][citation.document_id]
        return bool(citation.quote) and text[citation.start_char : citation.end_char] == citation.quote


def source_of(marker: int, passage: Passage) -> Source:
    """A passage as the orchestrator sees it."""
    chunk, document = passage.chunk, passage.document
    return Source(
        marker=marker,
        chunk_id=chunk.chunk_id,
        document_id=document.document_id,
        title=document.title,
        uri=document.uri,
        source=document.source,
        section=chunk.section,
        page=chunk.page,
        start_char=chunk.start_char,
        end_char=chunk.end_char,
        text=chunk.text,
        score=passage.score,
        dense_rank=passage.dense.rank if passage.dense else 0,
        lexical_rank=passage.lexical.rank if passage.lexical else 0,
        dense_score=passage.dense.score if passage.dense else None,
        lexical_score=passage.lexical.score if passage.lexical else None,
    )


def _figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    answered = [one for one in outcomes if not one.is_not_found]
    return {
        "contained": fmean(one.is_contained for one in outcomes),
        "mean_words": fmean(one.word_count for one in outcomes),
        "not_found": fmean(one.is_not_found for one in outcomes),
        "supported": fmean(one.is_supported for one in answered),
    }


def _of(half: str, outcomes: Sequence[tuple[str, Outcome]]) -> list[Outcome]:
    return [one for of, one in outcomes if half in {of, "whole"}]


def load(folder: Path) -> Corpora:
    """Each XQuAD paragraph as a document of its own, as bench.quality.data has it, and finance as one."""
    articles = json.loads((folder / "xquad.en.json").read_text())["data"]
    paragraphs = {
        f"{number:02}-{place}.txt": paragraph
        for number, article in enumerate(articles)
        for place, paragraph in enumerate(article["paragraphs"])
    }
    asked = [
        Asked(one["question"], tuple(answer["text"] for answer in one["answers"]), key, HALVES[int(key[:2]) % 2])
        for key, paragraph in paragraphs.items()
        for one in paragraph["qas"]
    ]
    texts = {key: paragraph["context"] for key, paragraph in paragraphs.items()}
    finance = (folder / "chunking_evaluation" / "corpora" / "finance.md").read_text()
    return Corpora(asked, {XQUAD: texts, FINANCE: {"finance.txt": finance}})


def normalised(text: str) -> str:
    """As SQuAD compares: lower case, no punctuation, no articles, single blanks."""
    bare = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())
