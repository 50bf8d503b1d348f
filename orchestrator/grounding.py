"""Whether the sources carry an answer: before it is made (`is_answerable`) and after (`assess`).

Rule 1: "the sources do not answer this" is an answer, and a better one than a wrong sentence with a citation.
Rule 2: before: a logistic function of four signals, fitted on questions asked of the corpus that holds their answer and
        of corpora that do not (one half of XQuAD-en's articles; bench.quality.answer_weights repeats it). The
        threshold lies on the side of answering: a false "not found" costs more than a weak answer whose source can be
        read.
Rule 3: after: a sentence is supported when one of its own citations' passages holds its content. That is lexical
        support, not entailment: it catches invented names, numbers and citations, not a twisted relation between true
        words. "The documents do not cover X" refuses, unless a cited source says just that.
Rule 4: whoever asks about K4 is not answered by a sentence about K10, however alike the two are. An answer whose cited
        passages lack an identifier or a name of the question is PARTIAL at best; passages that have only others of its
        series answer nothing (`asks_for_another`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from orchestrator.citations import Marker, find_markers
from orchestrator.evidence import Signals
from orchestrator.identifiers import missing, names_another
from orchestrator.listings import listings
from orchestrator.names import names_missing
from orchestrator.sentences import sentences
from orchestrator.types import FinishReason, Grounding, Source
from orchestrator.words import Word, content_stems, words

__all__ = ["NOT_FOUND_TEXT", "answerability", "asks_for_another", "assess", "is_answerable"]

NOT_FOUND_TEXT = "The sources do not answer this question."

# Logit = bias + weights of: passage cosine, sentence cosine, passage coverage, name coverage. Without an embedder:
# passage, sentence and name coverage.
DENSE_WEIGHTS = (8.17, 9.87, 5.18, 2.05)
DENSE_BIAS = -10.67
LEXICAL_WEIGHTS = (6.21, 6.87, 3.57)
LEXICAL_BIAS = -7.79
ANSWERABLE = 0.38  # 1.1 % false "not found" on the fitted half, where 0.5 gives 2.0 %
# A sentence resembles a question more than its passage does: by so much, in the mean over the fitted half.
PASSAGE_TO_SENTENCE = 0.87

SUPPORTED_SHARE = 0.6  # of a sentence's content words; paraphrase and connectives take up to the rest
_MIN_CONTENT = 2  # "Yes." and "In short:" claim nothing
_REFUSAL = re.compile(
    r"\b(?:sources?|passages?|documents?|context|texts?)\b.{0,40}"
    r"\b(?:do(?:es)? not|don't|doesn't|cannot|can't|did not)\b"
    r".{0,30}\b(?:answer|contain|mention|provide|say|include|state|address|give|cover)\w*"
    r"|\bI (?:do not|don't|cannot|can't) (?:know|answer|find)\b"
    r"|\bno (?:relevant )?(?:information|answer|mention)\b.{0,60}\b(?:sources?|passages?|documents?|context)\b",
    re.IGNORECASE | re.DOTALL,
)
# A sentence of a source that denies something has one of these. Without, "the documents do not mention X" is about X
# and said by the generator, not by the source.
_DENIAL = re.compile(r"\b(?:not|no|none|never|cannot|without|exclud\w+|except\w*)\b|n['\u2019]t\b", re.IGNORECASE)


def answerability(signals: Signals) -> float:
    """How likely the passages hold the answer, 0 to 1."""
    if signals.sentence_cosine is None:
        features = (signals.passage_coverage, signals.sentence_coverage, signals.name_coverage)
        return _logistic(LEXICAL_BIAS, LEXICAL_WEIGHTS, features)
    passage = signals.passage_cosine
    if passage is None:  # the dense leg was out; the sentence says nearly the same
        passage = PASSAGE_TO_SENTENCE * signals.sentence_cosine
    dense = (passage, signals.sentence_cosine, signals.passage_coverage, signals.name_coverage)
    return _logistic(DENSE_BIAS, DENSE_WEIGHTS, dense)


def is_answerable(signals: Signals) -> bool:
    return answerability(signals) >= ANSWERABLE


def asks_for_another(question: str, sources: Sequence[Source]) -> bool:
    """Whether the question names one of a series (K4) and the sources have others of it (K10), but not that one."""
    return names_another(question, [_named(source) for source in sources])


def assess(question: str, text: str, sources: Sequence[Source], finish_reason: FinishReason) -> Grounding:
    """Judge a finished answer, markers validated.

    Args:
        question: As asked; its identifiers must be in what is cited.
        text: All of its deltas.
        sources: The ones it was made from; their markers are what "[n]" means.
        finish_reason: NOT_FOUND when the generator itself said so.
    Returns:
        NOT_FOUND when the answer refuses or is empty, SUPPORTED when every sentence that claims something is carried by
        a passage it cites and the cited passages have every identifier and name of the question, else PARTIAL (an
        answer without any valid citation included).
    """
    statements = list(_statements(text))
    passages = {source.marker: source for source in sources}
    if finish_reason is FinishReason.NOT_FOUND or not statements or _is_refusal(*statements[0], passages):
        return Grounding.NOT_FOUND
    known = {marker: _known(passages[marker]) for _, cited in statements for marker in cited if marker in passages}
    judged = [_is_supported(said, [known[marker] for marker in cited if marker in known]) for said, cited in statements]
    named = [_named(passages[marker]) for marker in known]
    is_about_it = not missing(question, named) and not names_missing(question, named)
    return Grounding.SUPPORTED if all(judged) and is_about_it else Grounding.PARTIAL


def _statements(text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each sentence without its markers, and the numbers it cites, whether they stand before its full stop or after.

    A marker at the end of a list that has no other is its introduction's and every item's.
    """
    markers = list(find_markers(text))
    bare = _blanked(text, markers)
    spans = [span for span in sentences(bare) if bare[span.start : span.end].strip("`~")]  # a fence says nothing
    edges = [*(span.start for span in spans), len(text)]
    cited = [
        tuple(marker.number for marker in markers if start <= marker.start < until) for start, until in pairwise(edges)
    ]
    for start, end in listings(bare):
        held = [index for index, span in enumerate(spans) if start <= span.start < end]
        if not any(cited[index] for index in held[:-1]):  # one marker closes the list: each item is judged by it
            cited = [cited[held[-1]] if index in held else one for index, one in enumerate(cited)]
    yield from ((bare[span.start : span.end], one) for span, one in zip(spans, cited, strict=True))


def _blanked(text: str, markers: Sequence[Marker]) -> str:
    """The text with blanks for markers: offsets stay, and a marker between two sentences hides no full stop."""
    parts, position = [], 0
    for marker in markers:
        parts += [text[position : marker.start], " " * (marker.end - marker.start)]
        position = marker.end
    return "".join([*parts, text[position:]])


def _is_refusal(said: str, cited: Sequence[int], passages: Mapping[int, Source]) -> bool:
    """Whether it speaks of the sources, not from them: "the policy documents do not cover travel" may be one's rule."""
    found = _REFUSAL.search(said)
    return found is not None and not any(
        _denies(passages[marker], said, found.group()) for marker in cited if marker in passages
    )


def _denies(source: Source, said: str, refusal: str) -> bool:
    """Whether a sentence of the source that denies something carries `said`, and all that reads as a refusal in it."""
    content = [word for word in words(said) if word.is_content]
    if len(content) < _MIN_CONTENT:
        return False
    refused = content_stems(words(refusal))
    heading = content_stems(words(f"{source.title} {source.section}"))
    denials = [text for span in sentences(source.text) if _DENIAL.search(text := source.text[span.start : span.end])]
    stems = [heading | {word.stem for word in words(text)} for text in denials]
    return any(refused <= sentence and _carries(sentence, content) for sentence in stems)


def _is_supported(said: str, passages: Sequence[frozenset[str]]) -> bool:
    content = [word for word in words(said) if word.is_content]
    if len(content) < _MIN_CONTENT and not any(_is_checkable(word) for word in content):
        return True
    return any(_carries(passage, content) for passage in passages)


def _carries(passage: frozenset[str], content: Sequence[Word]) -> bool:
    """Every number, and SUPPORTED_SHARE of the words."""
    if any(word.is_number and word.stem not in passage for word in content):
        return False
    return sum(word.stem in passage for word in content) >= SUPPORTED_SHARE * len(content)


def _is_checkable(word: Word) -> bool:
    return word.is_number


def _named(source: Source) -> str:
    """Everything in which a source may name what it is about."""
    return f"{source.document_id} {source.title} {source.section} {source.text}"


def _known(source: Source) -> frozenset[str]:
    return frozenset(word.stem for word in words(f"{source.title} {source.section} {source.text}"))


def _logistic(bias: float, weights: Sequence[float], features: Sequence[float]) -> float:
    logit = bias + sum(weight * feature for weight, feature in zip(weights, features, strict=True))
    return 1.0 / (1.0 + math.exp(-logit))
