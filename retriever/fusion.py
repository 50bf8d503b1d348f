"""Makes one ranking of two: a weighted sum of squared min-max scores, weighted by how sure each leg is of its hits.

Rule 1: pure and order-free: the same hits in any order give the same passages; ties fall by rank, document, position.
Rule 2: order within a leg is kept: of two chunks, the one that is no worse in both legs never ranks lower, and one leg
        alone gives that leg's order.
Rule 3: a leg's scores are mapped to [0, 1] from its floor to its best hit, then squared. The floor of the lexical leg
        is 0 when it returned all it had (a chunk it did not find has BM25 0), else its last hit; of the dense leg, its
        last hit.
Rule 4: chunks with the same text in different documents all stay: each has its own id, groups and citation. The
        chunker's overlap (a sentence or two) is too small to make two chunks of one document the same find.

Why the weight moves. A fixed weight is right on one corpus and wrong on the next: min-max at .48 dense gains .011
nDCG@10 on XQuAD and loses .066 on financial filings, where words decide. What tells the two apart without knowing the
corpus is how steeply a leg's scores fall: a leg whose tenth hit is nearly as good as its first has no opinion. Its
fall, relative to its best score, scales its weight. How the numbers were chosen: docs/decisions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final

from retriever.types import Hit, LegScore, Passage

_SCHEME: Final = "spread-minmax-squared-1"  # the formula; a change of it is a change of every answer


@dataclass(frozen=True, slots=True)
class FusionWeights:
    """Everything that decides a fused order; see docs/decisions for how the numbers were chosen.

    Attributes:
        dense: The dense leg's share before sureness scales it; the lexical leg has the rest.
        depth: Hits to ask of each leg: the min-max floor needs more than are shown. 50 and 100 are equal, 30 is worse.
        dense_spread_at: The hit whose distance from the first tells how sure the dense leg is.
        lexical_spread_at: The same of the lexical leg: words find few chunks well, so one further down is the measure.
        dense_caution: Power of the dense leg's sureness. Cosines of good and of bad hits lie close, so a flat curve
            says more about the dense leg than about the lexical one.
        contrast: Power of the scaled scores: a leg's clear finds count, its long tail of nearly equal ones does not.
        weak_bm25: Below this best score the lexical leg found nothing that tells chunks apart: in a collection of two
            or three chunks, every word is in half of them and BM25 is near 0.
    """

    dense: float = 0.7
    depth: int = 50
    dense_spread_at: int = 10
    lexical_spread_at: int = 30
    dense_caution: float = 2.0
    contrast: float = 2.0
    weak_bm25: float = 0.1

    @property
    def fingerprint(self) -> str:
        """Names formula and numbers; part of the pipeline fingerprint that cached answers are kept under."""
        return hashlib.sha256(repr((_SCHEME, astuple(self))).encode()).hexdigest()[:12]


DEFAULT_WEIGHTS: Final = FusionWeights()
LEG_DEPTH: Final = DEFAULT_WEIGHTS.depth
FUSION_FINGERPRINT: Final = DEFAULT_WEIGHTS.fingerprint

_LEAST_SURENESS = 1e-3  # no leg is ever silenced: its hits still break ties and follow the other's


@dataclass(frozen=True, slots=True)
class _Leg:
    """One leg's hits, best first, and its scores in [0, 1] by chunk id."""

    hits: tuple[Hit, ...]
    scaled: Mapping[str, float]
    sureness: float

    def score_of(self, chunk_id: str) -> float:
        return self.scaled.get(chunk_id, 0.0)


def fuse(
    dense: Sequence[Hit], lexical: Sequence[Hit], limit: int, weights: FusionWeights = DEFAULT_WEIGHTS
) -> list[Passage]:
    """Fuse the legs' hits.

    Args:
        dense: By cosine, up to `weights.depth`; empty when the leg is off or down.
        lexical: By BM25, likewise.
        limit: Passages to return.
        weights: Decide the order.
    Returns:
        At most `limit` passages, best first, each chunk once, with what each leg said of it; scores in [0, 1].
    """
    dense_leg, lexical_leg = _dense_leg(dense, weights), _lexical_leg(lexical, weights)
    share = _dense_share(dense_leg, lexical_leg, weights)
    dense_ranks, lexical_ranks = _ranks(dense_leg), _ranks(lexical_leg)
    passages = [
        Passage(
            chunk=hit.chunk,
            document=hit.document,
            score=min(1.0, share * dense_leg.score_of(chunk_id) + (1.0 - share) * lexical_leg.score_of(chunk_id)),
            dense=dense_ranks.get(chunk_id),
            lexical=lexical_ranks.get(chunk_id),
        )
        for chunk_id, hit in {hit.chunk.chunk_id: hit for hit in (*lexical_leg.hits, *dense_leg.hits)}.items()
    ]
    passages.sort(key=_place)
    return passages[:limit]


def _place(passage: Passage) -> tuple[float, float, str, int, str]:
    """Best score first; of equal ones the better single rank, then document and position."""
    ranks = [leg.rank for leg in (passage.dense, passage.lexical) if leg is not None]
    return (
        -passage.score,
        -sum(1 / rank for rank in ranks),
        passage.document.document_id,
        passage.chunk.position,
        passage.chunk.chunk_id,
    )


def _dense_share(dense: _Leg, lexical: _Leg, weights: FusionWeights) -> float:
    if not lexical.hits:
        return 1.0
    if not dense.hits:
        return 0.0
    by_dense = weights.dense * dense.sureness
    by_lexical = (1.0 - weights.dense) * lexical.sureness
    return by_dense / (by_dense + by_lexical)


def _dense_leg(hits: Iterable[Hit], weights: FusionWeights) -> _Leg:
    best = _best_first(hits)
    last = best[-1].score if best else 0.0
    sureness = _sureness(best, weights.dense_spread_at, absent=last) ** weights.dense_caution
    return _Leg(best, _scaled(best, last, weights.contrast), sureness)


def _lexical_leg(hits: Iterable[Hit], weights: FusionWeights) -> _Leg:
    best = _best_first(hits)
    floor = 0.0 if len(best) < weights.depth else best[-1].score
    sureness = _sureness(best, weights.lexical_spread_at, absent=0.0)
    if best and best[0].score < weights.weak_bm25:
        sureness = max(_LEAST_SURENESS, sureness * max(0.0, best[0].score) / weights.weak_bm25)
    return _Leg(best, _scaled(best, floor, weights.contrast), sureness)


def _best_first(hits: Iterable[Hit]) -> tuple[Hit, ...]:
    """Each chunk once, by its best score."""
    ordered = sorted(
        hits, key=lambda hit: (-hit.score, hit.document.document_id, hit.chunk.position, hit.chunk.chunk_id)
    )
    unique: dict[str, Hit] = {}
    for hit in ordered:
        unique.setdefault(hit.chunk.chunk_id, hit)
    return tuple(unique.values())


def _scaled(hits: Sequence[Hit], floor: float, contrast: float) -> dict[str, float]:
    if not hits:
        return {}
    top = hits[0].score
    floor = min(floor, hits[-1].score)
    if top <= floor:
        return {hit.chunk.chunk_id: 1.0 for hit in hits}
    return {hit.chunk.chunk_id: ((hit.score - floor) / (top - floor)) ** contrast for hit in hits}


def _sureness(hits: Sequence[Hit], spread_at: int, *, absent: float) -> float:
    """How far the scores fall from the first hit to the one at `spread_at`, as a share of the first; in (0, 1]."""
    if not hits or hits[0].score <= 0.0:
        return _LEAST_SURENESS
    tenth = hits[spread_at].score if len(hits) > spread_at else absent
    return min(1.0, max(_LEAST_SURENESS, (hits[0].score - tenth) / hits[0].score))


def _ranks(leg: _Leg) -> dict[str, LegScore]:
    return {hit.chunk.chunk_id: LegScore(rank, hit.score) for rank, hit in enumerate(leg.hits, start=1)}
