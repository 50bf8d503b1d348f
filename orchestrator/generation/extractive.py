"""Answers with the sources' own sentences: no model, no network, the same words for the same passages every time.

Rule 1: every sentence said is in its source, word for word (wrapped lines joined), and carries its marker. A list or a
        block of code that a sentence introduces is said with it, under one marker.
Rule 2: first words first: sentences are chosen by words alone, at most SHORTLIST of them are embedded together with the
        question, and the first goes out before the next is chosen.
Rule 3: more than one sentence only while the belief that the answer has been said is below SAID_ENOUGH, and only
        sentences that are not far less likely than the first.
Rule 4: without an embedder, or without the time for it, the lexical order stands; that is a worse answer, not an error.

Rule 5: a question the embedder cannot read is judged by words alone. Its model knows English: what it has no words for
        (Chinese, emoji) is all one unknown word to it, and equals every other such text.

Does not: rephrase, join facts, reason, translate, or honour temperature and seed (there is nothing to sample).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Sequence

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, EmbedderUnavailable
from embedding.ports import Embedder
from orchestrator import evidence, grounding
from orchestrator.evidence import Evidence, Reading
from orchestrator.grounding import NOT_FOUND_TEXT, asks_for_another, is_answerable
from orchestrator.ports import TokenCounter
from orchestrator.tokens import EstimatedTokenCounter
from orchestrator.types import FinishReason, GenerationEnd, GenerationEvent, ModelInfo, Prompt, Sampling, TextPiece

__all__ = ["ExtractiveGenerator"]

MODEL_NAME = "extractive"
MAX_SENTENCES = 3
SAID_ENOUGH = 0.90  # with FAR_BELOW, on the fitted half: .900 contained at 45 words; .85 gives .894 at 44
FAR_BELOW = 0.1  # of the first sentence's share: what is less likely than that only blurs the answer
MAX_WORDS = 90  # no further sentence that would go beyond; keeps long-winded sources from doubling the answer
EMBED_CAP_S = 0.150  # seven texts take 10-25 ms; beyond this a slow machine answers lexically
EMBED_SHARE = 0.5  # of the budget left: the rest is for saying it

READABLE_SHARE = 0.5  # of a question's letters and digits, in Latin script; names in another may stand in between

_READABLE = re.compile(r"[0-9A-Za-z\u00c0-\u024f]")  # to the end of Latin Extended-B
_WORD_SIGN = re.compile(r"[^\W_]")

_REVISION = "6"  # counts changes of this package that change answers and that no constant below shows
_CONSTANTS = (
    evidence.LEXICAL_WEIGHTS,
    evidence.HYBRID_WEIGHTS,
    evidence.COSINE_WEIGHT,
    evidence.SCRAP_PENALTY,
    evidence.SHORTLIST,
    evidence.WORTH_EMBEDDING,
    evidence.MAX_SOURCES,
    grounding.ANSWERABLE,
    (grounding.DENSE_BIAS, grounding.DENSE_WEIGHTS),
    (grounding.LEXICAL_BIAS, grounding.LEXICAL_WEIGHTS),
    MAX_SENTENCES,
    SAID_ENOUGH,
    FAR_BELOW,
    MAX_WORDS,
)


class ExtractiveGenerator:
    """The Generator of the embedded mode, and what an answer falls back to when the model is out.

    Args:
        embedder: The retriever's; None answers by words alone.
        counter: For usage and max_tokens; an estimate by default.
    """

    def __init__(self, embedder: Embedder | None, counter: TokenCounter | None = None) -> None:
        self._embedder = embedder
        self._counter = counter or EstimatedTokenCounter()
        made_of = f"{_REVISION}|{_CONSTANTS}|{embedder.fingerprint if embedder else 'lexical'}"
        digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
        self._model = ModelInfo(name=MODEL_NAME, fingerprint=f"{MODEL_NAME}-{digest}")

    @property
    def model(self) -> ModelInfo:
        return self._model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, budget: Budget
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Say the sentences that answer prompt.question, each with its marker; see orchestrator.ports.Generator.

        Ends with NOT_FOUND, after saying so, when the sources do not answer; with LENGTH when the next sentence would
        exceed sampling.max_tokens. Usage has no prompt tokens: nothing reads a prompt.
        """
        budget.check("generate")
        reading = await asyncio.to_thread(evidence.read, prompt.question, prompt.sources)
        cosines = await self._cosines(prompt.question, reading.shortlist, budget)
        if _finds_nothing(prompt, reading, cosines):
            yield TextPiece(NOT_FOUND_TEXT)
            yield self._end(FinishReason.NOT_FOUND, self._counter.count(NOT_FOUND_TEXT))
            return
        tokens, last = 0, ""
        for number, sentence in enumerate(_chosen(reading, cosines)):
            piece = _joined(last, sentence)
            last = piece
            cost = self._counter.count(piece)
            if number and tokens + cost > sampling.max_tokens:
                yield self._end(FinishReason.LENGTH, tokens)
                return
            budget.check("generate")
            tokens += cost
            yield TextPiece(piece)
        yield self._end(FinishReason.STOP, tokens)

    async def _cosines(self, question: str, sentences: Sequence[Evidence], budget: Budget) -> list[float] | None:
        if self._embedder is None or not sentences or not _is_readable(question):
            return None
        cap = budget.within(min(EMBED_CAP_S, EMBED_SHARE * budget.remaining_s()))
        try:
            vectors = await self._embedder.embed([question, *(one.embed_text for one in sentences)], budget=cap)
        except (DeadlineExceeded, EmbedderUnavailable):
            return None
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines

    def _end(self, reason: FinishReason, tokens: int) -> GenerationEnd:
        return GenerationEnd(reason, prompt_tokens=0, completion_tokens=tokens, is_estimate=self._counter.is_estimate)


def _joined(last: str, sentence: Evidence) -> str:
    """The sentence as it goes on after `last`, with its marker. Lists, code and the fence that ends it stand apart."""
    text = sentence.text
    joint = "\n\n" if "\n" in last or "\n" in text else " "
    gap = "\n" if text.endswith("```") else " "
    return f"{joint if last else ''}{text}{gap}[{sentence.source.marker}]"


def _finds_nothing(prompt: Prompt, reading: Reading, cosines: Sequence[float] | None) -> bool:
    if not reading.shortlist or asks_for_another(prompt.question, prompt.sources):
        return True
    return not is_answerable(reading.judged(cosines))


def _is_readable(question: str) -> bool:
    readable = len(_READABLE.findall(question))
    return readable > 0 and readable >= READABLE_SHARE * len(_WORD_SIGN.findall(question))


def _chosen(reading: Reading, cosines: Sequence[float] | None) -> list[Evidence]:
    """The best sentence, and the next ones while it is not likely enough that the answer is among them."""
    ranked = reading.ranked(cosines)[:MAX_SENTENCES]
    chosen: list[Evidence] = []
    belief, words = 0.0, 0
    for sentence, share in ranked:
        is_weak = share < FAR_BELOW * ranked[0][1]
        if chosen and (is_weak or belief > SAID_ENOUGH or words + sentence.word_count > MAX_WORDS):
            break
        chosen.append(sentence)
        belief += share
        words += sentence.word_count
    return chosen
