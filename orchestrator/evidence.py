"""Which sentences of the passages answer a question: features, weights and signals, all pure.

Rule 1: everything is relative to the passages at hand; no corpus statistics, no table of word frequencies.
Rule 2: cheap first. The lexical features choose SHORTLIST sentences; only those are worth an embedding (2-4 ms each).
Rule 3: weights are few and were fitted on one half of XQuAD-en's articles (even ones); `bench.quality answers --fit`
        repeats the fit and prints what stands here. The other half and other corpora are only measured.
Rule 4: a heading or a question is no answer, but speaks for the sentence after it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from orchestrator.questions import Kind, answer_sign, kind_of
from orchestrator.sentences import sentences
from orchestrator.types import Source
from orchestrator.words import Word, content_stems, rarity, words

__all__ = ["SHORTLIST", "Evidence", "Reading", "Signals", "read"]

SHORTLIST = 6  # with 6 the right sentence is lost in 0.2 % of the questions against embedding all of them
WORTH_EMBEDDING = 0.99  # of the lexical belief: what lies below never won on the fitted half; 4.5 sentences in the mean
MAX_SOURCES = 8  # what a sentence picker can use: passages further down never won on the fitted half

# Weights of _Asked.features, in their order, and of the cosine. The softmax of the scores gives the shares.
LEXICAL_WEIGHTS = (5.2, 2.3, 1.7, 1.4, 2.3, 2.0, 1.65)
HYBRID_WEIGHTS = (4.25, 1.89, 1.83, 1.52, 2.21, 1.68, 1.64)
COSINE_WEIGHT = 3.53
# The document's own "[12]" would be taken for a marker of ours.
_REFERENCE = re.compile(r"\[\s*\d{1,3}(?:\s*,\s*\d{1,3})*\s*\]")
_COSINE_DROP = 0.3  # a passage further below the best is simply "far"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One candidate sentence: source.text[start:end], and what speaks for it."""

    source: Source
    start: int
    end: int
    stems: frozenset[str]
    lead: str = ""  # the heading or question it stands under
    features: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """As it is said: verbatim but for wrapped lines, reference marks and backticks that would not close."""
        said = _REFERENCE.sub("", self.source.text[self.start : self.end])
        if "```" in said or said.count("`") % 2:
            said = said.replace("`", "")
        return " ".join(said.split())

    @property
    def embed_text(self) -> str:
        """What its meaning is taken from: "In Smiljan." says little without the question above it."""
        return f"{self.lead} {self.text}".strip()

    @property
    def word_count(self) -> int:
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Signals:
    """Whether the passages are about the question at all: what grounding.is_answerable decides on.

    Attributes:
        passage_cosine: Of the best passage; None when nothing dense is known.
        sentence_cosine: Of the best shortlisted sentence; None without an embedder.
        passage_coverage: Share of the question's content the best passage holds, by rarity.
        sentence_coverage: The same for the best sentence.
        name_coverage: Share of the question's names and numbers found in any passage; 0.5 when it has none.
    """

    passage_cosine: float | None
    sentence_cosine: float | None
    passage_coverage: float
    sentence_coverage: float
    name_coverage: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The passages read with a question in mind; `shortlist` is best first, by words alone."""

    shortlist: tuple[Evidence, ...]
    signals: Signals

    def ranked(self, cosines: Sequence[float] | None) -> list[tuple[Evidence, float]]:
        """The shortlist, best first, each with its share of the belief (they sum to 1)."""
        if not self.shortlist:
            return []
        weights = LEXICAL_WEIGHTS if cosines is None else HYBRID_WEIGHTS
        extra = [0.0] * len(self.shortlist) if cosines is None else [COSINE_WEIGHT * cosine for cosine in cosines]
        scores = [_dot(weights, one.features) + more for one, more in zip(self.shortlist, extra, strict=True)]
        peak = max(scores)
        beliefs = [math.exp(score - peak) for score in scores]
        total = sum(beliefs)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [(self.shortlist[index], beliefs[index] / total) for index in order]

    def judged(self, cosines: Sequence[float] | None) -> Signals:
        """The signals, completed by the shortlist's cosines."""
        return replace(self.signals, sentence_cosine=max(cosines)) if cosines else self.signals


def read(question: str, sources: Sequence[Source]) -> Reading:
    """Find the sentences that may answer; 1-3 ms for five passages of 1,000 characters."""
    asked = _Asked.of(question)
    passages = [_Passage.of(rank, source) for rank, source in enumerate(sources[:MAX_SOURCES], 1)]
    found = [(passage, line) for passage in passages for line in passage.lines]
    weights = asked.weights([line.stems for _, line in found])
    best_cosine = max((passage.source.dense_score or 0.0 for passage in passages), default=0.0)
    scored = []
    for passage, line in found:
        if line.can_answer:
            features = asked.features(passage, line, weights, best_cosine)
            scored.append(Evidence(passage.source, line.start, line.end, line.stems, line.lead, features))
    scored.sort(key=lambda one: -_dot(LEXICAL_WEIGHTS, one.features))
    reading = Reading(_distinct(scored), asked.signals(passages))
    return replace(reading, shortlist=_likely(reading.ranked(None)))


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence of a passage; `before` is what the sentence before it says, `lead` the heading or question above."""

    start: int
    end: int
    words: tuple[Word, ...]
    stems: frozenset[str]
    before: frozenset[str]
    lead: str
    can_answer: bool


@dataclass(frozen=True, slots=True)
class _Passage:
    rank: int
    source: Source
    stems: frozenset[str]
    lines: tuple[_Line, ...]

    @classmethod
    def of(cls, rank: int, source: Source) -> _Passage:
        context = frozenset(word.stem for word in words(f"{source.title} {source.section}"))
        lines: list[_Line] = []
        before, lead = context, source.section
        for span in sentences(source.text):
            said = source.text[span.start : span.end]
            text_words = tuple(words(said))
            stems = frozenset(word.stem for word in text_words)
            can_answer = bool(stems) and not span.is_heading and not said.endswith("?")
            lines.append(_Line(span.start, span.end, text_words, stems, before, lead, can_answer))
            before, lead = stems, "" if can_answer else said.lstrip("# ")
        return cls(rank, source, context.union(*(line.stems for line in lines)), tuple(lines))


@dataclass(frozen=True, slots=True)
class _Asked:
    kind: Kind
    stems: frozenset[str]
    names: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, question: str) -> _Asked:
        asked = words(question)
        content = content_stems(asked)
        names = tuple(
            word.stem
            for position, word in enumerate(asked)
            if word.is_content and (word.is_number or (position > 0 and word.is_capitalised))
        )
        stems = content or frozenset(word.stem for word in asked)
        return cls(kind_of(question), stems, names, frozenset(_pairs(asked)))

    def weights(self, lines: Sequence[frozenset[str]]) -> dict[str, float]:
        """What each question stem tells one line from another: 0 when no line has it, they sum to 1."""
        counts = {stem: sum(stem in line for line in lines) for stem in self.stems}
        raw = {stem: math.log(1 + len(lines) / (0.5 + count)) for stem, count in counts.items() if count}
        total = sum(raw.values()) or 1.0
        return {stem: weight / total for stem, weight in raw.items()}

    def features(
        self, passage: _Passage, line: _Line, weights: Mapping[str, float], best_cosine: float
    ) -> tuple[float, ...]:
        """Coverage, word pairs, coverage by the sentence before and by the passage, rank, cosine, sign of an answer."""
        pairs = sum(pair in self.pairs for pair in set(_pairs(line.words))) / max(1, len(self.pairs))
        cosine = passage.source.dense_score
        return (
            _covered(weights, line.stems),
            pairs,
            _covered(weights, line.before - line.stems),
            _covered(weights, passage.stems),
            1 / passage.rank,
            0.0 if cosine is None else max(cosine - best_cosine, -_COSINE_DROP),
            answer_sign(self.kind, line.words, self.stems),
        )

    def signals(self, passages: Sequence[_Passage]) -> Signals:
        rare = {stem: rarity(stem) for stem in self.stems}
        total = sum(rare.values()) or 1.0
        lines = [line for passage in passages for line in passage.lines]
        everything = frozenset[str]().union(*(passage.stems for passage in passages))
        known = [one.source.dense_score for one in passages if one.source.dense_score is not None]
        return Signals(
            passage_cosine=max(known, default=None),
            sentence_cosine=None,
            passage_coverage=max((_covered(rare, passage.stems) for passage in passages), default=0.0) / total,
            sentence_coverage=max((_covered(rare, line.stems) for line in lines), default=0.0) / total,
            name_coverage=sum(name in everything for name in self.names) / len(self.names) if self.names else 0.5,
        )


def _distinct(ordered: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The first SHORTLIST that differ; chunks overlap, and a sentence cut by its chunk yields to the whole one."""
    kept: list[Evidence] = []
    for one in ordered:
        twin = next((index for index, other in enumerate(kept) if _is_twin(one, other)), None)
        if twin is None:
            kept.append(one)
        elif one.end - one.start > kept[twin].end - kept[twin].start:
            kept[twin] = one
    return tuple(kept[:SHORTLIST])


def _likely(ranked: Sequence[tuple[Evidence, float]]) -> tuple[Evidence, ...]:
    """The best ones that together hold WORTH_EMBEDDING of the belief."""
    kept, belief = [], 0.0
    for one, share in ranked:
        if belief >= WORTH_EMBEDDING:
            break
        kept.append(one)
        belief += share
    return tuple(kept)


def _is_twin(one: Evidence, other: Evidence) -> bool:
    if one.source.document_id == other.source.document_id:
        first, second = one.source.start_char, other.source.start_char
        return first + one.start < second + other.end and second + other.start < first + one.end
    return one.stems == other.stems and one.text == other.text


def _covered(weights: Mapping[str, float], stems: frozenset[str]) -> float:
    return sum(weight for stem, weight in weights.items() if stem in stems)


def _pairs(text_words: Sequence[Word]) -> list[tuple[str, str]]:
    stems = [word.stem for word in text_words]
    return list(pairwise(stems))


def _dot(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))
