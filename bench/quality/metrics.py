"""Retrieval metrics, by their textbook definitions, on ids and on token sets."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

NDCG_DEPTH = 10
RECALL_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """How good one ranked list is: nDCG@10 (binary gains), recall@5, whether the first is right, reciprocal rank."""

    ndcg10: float
    recall5: float
    hit1: float
    mrr: float


METRICS = ("ndcg10", "recall5", "hit1", "mrr")


def judge(ranked: Sequence[str], relevant: Collection[str]) -> Ranking:
    """Judge ids, best first and each once, against the relevant ones (at least one).

    Source: Järvelin and Kekäläinen 2002, with gain 1 and discount log2(rank + 1).
    """
    places = [place for place, id_ in enumerate(ranked) if id_ in relevant]
    gain = sum(1 / math.log2(place + 2) for place in places if place < NDCG_DEPTH)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(relevant), NDCG_DEPTH)))
    return Ranking(
        ndcg10=gain / ideal,
        recall5=sum(place < RECALL_DEPTH for place in places) / min(len(relevant), RECALL_DEPTH),
        hit1=float(bool(places) and places[0] == 0),
        mrr=1 / (places[0] + 1) if places else 0.0,
    )


def mean_of(rankings: Iterable[Ranking]) -> Ranking:
    """The mean of each metric."""
    rows = list(rankings)
    return Ranking(*(fmean(getattr(row, name) for row in rows) for name in METRICS))


@dataclass(frozen=True, slots=True)
class Overlap:
    """How well retrieved stretches cover what answers a question, in tokens."""

    recall: float
    precision: float
    iou: float


class TokenRuler:
    """Counts tokens of one text by character offsets.

    Args:
        spans: Of the text's tokens, in order.
    """

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._starts = [start for start, _ in spans]

    def tokens(self, start: int, end: int) -> range:
        """Indices of the tokens that begin in text[start:end]."""
        return range(bisect_left(self._starts, start), bisect_left(self._starts, end))

    def overlap(self, found: Iterable[tuple[int, int]], wanted: Iterable[tuple[int, int]]) -> Overlap:
        """Token recall, precision and intersection over union.

        A token that two found stretches share counts twice against precision and IoU: it was paid for twice.
        Source: Smith and Troynikov 2024, Evaluating Chunking Strategies for Retrieval, section "Metrics".
        """
        relevant = {token for start, end in wanted for token in self.tokens(start, end)}
        stretches = [self.tokens(start, end) for start, end in found]
        paid = sum(len(stretch) for stretch in stretches)
        hit = len(relevant & {token for stretch in stretches for token in stretch})
        return Overlap(
            recall=hit / len(relevant), precision=hit / paid if paid else 0.0, iou=hit / (paid + len(relevant) - hit)
        )


def mean_overlap(overlaps: Iterable[Overlap]) -> Overlap:
    """The mean of each measure."""
    rows = list(overlaps)
    return Overlap(fmean(r.recall for r in rows), fmean(r.precision for r in rows), fmean(r.iou for r in rows))
