"""Which sentences of the passages answer a question: features, weights and signals, all pure.

Rule 1: everything is relative to the passages at hand; no corpus statistics, no table of word frequencies.
Rule 2: cheap first. The lexical features choose SHORTLIST sentences; only those are worth an embedding (2-4 ms each).
Rule 3: weights are few and were fitted on one half of XQuAD-en's articles (even ones); `python -m
        bench.quality.answer_weights` repeats the fit and prints what stands here. The other half and other corpora are
        only measured.
Rule 4: prose is preferred to table rows and stray lines by SCRAP_PENALTY, which is judgement: XQuAD has neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from orchestrator.aloud import Form, said_aloud
from orchestrator.lines import Line, PassageLines
from orchestrator.questions import Kind, answer_sign, kind_of
from orchestrator.types import Source
from orchestrator.words import Word, content_stems, rarity, words

__all__ = ["SHORTLIST", "Evidence", "Reading", "Signals", "candidates", "read"]

SHORTLIST = 6  # with 6 the right sentence is lost in 0.2 % of the questions against embedding all of them
WORTH_EMBEDDING = 0.99  # of the lexical belief: what lies below never won on the fitted half; 4.5 sentences in the mean
MAX_SOURCES = 8  # what a sentence picker can use: passages further down never won on the fitted half

# Weights of _Asked.features, in their order, and of the cosine. The softmax of the scores gives the shares.
LEXICAL_WEIGHTS = (5.07, 2.17, 1.28, 1.50, 2.12, 3.08, 1.62)
HYBRID_WEIGHTS = (4.06, 1.73, 1.50, 1.75, 1.48, 2.47, 1.67)
COSINE_WEIGHT = 3.94
SCRAP_PENALTY = 1.0  # about what a quarter of the question's words is worth
TELLS = 4  # content words beyond the question's: "follow these steps" has two
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
    penalty: float = 0.0
    form: Form = Form.SENTENCE
    is_empty: bool = False  # it announces what is not in its passage, and tells next to nothing itself

    def score(self, cosine: float | None) -> float:
        """Comparable within one question only."""
        if cosine is None:
            return _dot(LEXICAL_WEIGHTS, self.features) - self.penalty
        return _dot(HYBRID_WEIGHTS, self.features) + COSINE_WEIGHT * cosine - self.penalty

    @property
    def text(self) -> str:
        """As it is said."""
        return said_aloud(self.source.text[self.start : self.end], self.form)

    @property
    def embed_text(self) -> str:
        """What its meaning is taken from: "In Smiljan." says little without the question above it.

        Of a list the introduction: its items have each a meaning of their own, and many drown what they are.
        """
        said = self.text.split("\n", 1)[0] if self.form is Form.LISTING else self.text
        return f"{self.lead} {said}".strip()

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
        scores = [one.score(cosines[index] if cosines else None) for index, one in enumerate(self.shortlist)]
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
    found, signals = candidates(question, sources)
    ordered = sorted(_saying_something(found), key=lambda one: -one.score(None))
    reading = Reading(_distinct(ordered), signals)
    return replace(reading, shortlist=_likely(reading.ranked(None)))


def candidates(question: str, sources: Sequence[Source]) -> tuple[list[Evidence], Signals]:
    """Every sentence that can answer, in reading order, twins included; what weights are fitted on."""
    asked = _Asked.of(question)
    passages = [PassageLines.of(rank, source) for rank, source in enumerate(sources[:MAX_SOURCES], 1)]
    found = [(passage, line) for passage in passages for line in passage.lines]
    weights = asked.weights([line.stems for _, line in found])
    best_cosine = max((passage.source.dense_score or 0.0 for passage in passages), default=0.0)
    evidence = [
        Evidence(
            source=passage.source,
            start=line.start,
            end=line.end,
            stems=line.stems,
            lead=line.lead,
            features=asked.features(passage, line, weights, best_cosine),
            penalty=0.0 if line.is_prose else SCRAP_PENALTY,
            form=line.form,
            is_empty=line.is_empty and asked.hears_little(line),
        )
        for passage, line in found
        if asked.may_be_answered_by(line)
    ]
    return evidence, asked.signals(passages)


@dataclass(frozen=True, slots=True)
class _Asked:
    kind: Kind
    stems: frozenset[str]
    everything: frozenset[str]
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
        everything = frozenset(word.stem for word in asked)
        return cls(kind_of(question), content or everything, everything, names, frozenset(_pairs(asked)))

    def may_be_answered_by(self, line: Line) -> bool:
        """Prose may say no more than was asked ("Unpaid leave is possible."); a name that does is no answer."""
        if line.tells_when and self.kind is Kind.DATE:
            return True
        return line.can_answer and (line.is_prose or not line.stems <= self.everything)

    def hears_little(self, line: Line) -> bool:
        """Whether the line repeats the question; "In his article X, published in 1937, he stated:" tells a lot."""
        return len(content_stems(line.words) - self.everything) < TELLS

    def weights(self, lines: Sequence[frozenset[str]]) -> dict[str, float]:
        """What each question stem tells one line from another: 0 when no line has it, they sum to 1."""
        counts = {stem: sum(stem in line for line in lines) for stem in self.stems}
        raw = {stem: math.log(1 + len(lines) / (0.5 + count)) for stem, count in counts.items() if count}
        total = sum(raw.values()) or 1.0
        return {stem: weight / total for stem, weight in raw.items()}

    def features(
        self, passage: PassageLines, line: Line, weights: Mapping[str, float], best_cosine: float
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
            answer_sign(self.kind, line.words + line.listed, self.stems),
        )

    def signals(self, passages: Sequence[PassageLines]) -> Signals:
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


def _saying_something(found: list[Evidence]) -> list[Evidence]:
    """Without what only announces, unless nothing else shares a word with the question, by itself or by its lead."""
    telling = [one for one in found if not one.is_empty]
    return telling if any(one.features[0] + one.features[2] > 0 for one in telling) else found


def _distinct(ordered: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The first SHORTLIST that differ; chunks overlap, and a sentence cut by its chunk yields to the whole one."""
    kept: list[Evidence] = []
    for one in ordered:
        twin = next((index for index, other in enumerate(kept) if _is_twin(one, other)), None)
        if twin is None:
            kept.append(one)
        elif _is_wholer(one, kept[twin]):
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


def _is_wholer(one: Evidence, other: Evidence) -> bool:
    """A list does not replace its item, nor an item its list: the better one stays. Nor the outer list the inner."""
    if Form.LISTING in {one.form, other.form}:
        starts = (each.source.start_char + each.start for each in (one, other))
        if one.form is not other.form or len(set(starts)) > 1:
            return False
    return one.end - one.start > other.end - other.start


def _covered(weights: Mapping[str, float], stems: frozenset[str]) -> float:
    return sum(weight for stem, weight in weights.items() if stem in stems)


def _pairs(text_words: Sequence[Word]) -> list[tuple[str, str]]:
    stems = [word.stem for word in text_words]
    return list(pairwise(stems))


def _dot(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))
