"""The words of a source that support a sentence: found by overlap, returned verbatim with the document's offsets."""

from __future__ import annotations

from functools import cached_property

from orchestrator.listings import listings
from orchestrator.sentences import Sentence, sentences
from orchestrator.types import Citation, Source
from orchestrator.words import content_stems, words

__all__ = ["Quoter"]

ENOUGH_COVERED = 0.6  # of the claim's content: below it a neighbour that holds more of it is quoted too
NEIGHBOUR_ADDS = 2  # content words; one may be chance


class Quoter:
    """Finds quotes in one source; reads it once, and only when it is cited."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def citation_for(self, claim: str) -> Citation:
        """The citation whose quote supports `claim`; without any overlap, the passage's first sentence."""
        source = self._source
        start, end = self._span(content_stems(words(claim)))
        return Citation(
            marker=source.marker,
            document_id=source.document_id,
            title=source.title,
            uri=source.uri,
            source=source.source,
            section=source.section,
            page=source.page,
            chunk_id=source.chunk_id,
            quote=source.text[start:end],
            start_char=source.start_char + start,
            end_char=source.start_char + end,
        )

    @cached_property
    def _all(self) -> list[tuple[Sentence, frozenset[str]]]:
        text = self._source.text
        return [(span, content_stems(words(text[span.start : span.end]))) for span in sentences(text)]

    @cached_property
    def _lines(self) -> list[tuple[Sentence, frozenset[str]]]:
        return [line for line in self._all if not line[0].is_heading] or self._all

    @cached_property
    def _listings(self) -> list[tuple[Sentence, frozenset[str]]]:
        """Introductions with what they introduce: quoted as one where they were said as one."""
        text = self._source.text
        return [(Sentence(start, end), content_stems(words(text[start:end]))) for start, end in listings(text)]

    @property
    def _heads(self) -> list[tuple[Sentence, frozenset[str]]]:
        return [line for line in self._all if line[0].is_heading]

    def _span(self, claim: frozenset[str]) -> tuple[int, int]:
        if not self._lines:
            return 0, len(self._source.text)
        for head, stems in self._heads:  # said itself, not what it stands above
            if stems and stems == claim:
                return head.start, head.end
        best = max(range(len(self._lines)), key=lambda index: (_agreement(claim, self._lines[index][1]), -index))
        first = last = best
        listed = max(self._listings, key=lambda each: _agreement(claim, each[1]), default=self._lines[best])
        if self._listings and 0.0 < _agreement(claim, listed[1]) >= _agreement(claim, self._lines[best][1]):
            return listed[0].start, listed[0].end
        covered = claim & self._lines[best][1]
        if covered and len(covered) < ENOUGH_COVERED * len(claim):
            first, last = self._widened(best, claim - covered)
        return self._lines[first][0].start, self._lines[last][0].end

    def _widened(self, best: int, missing: frozenset[str]) -> tuple[int, int]:
        """The better of the two neighbours, when it holds enough of what is missing."""
        near = [index for index in (best - 1, best + 1) if 0 <= index < len(self._lines)]
        other = max(near, key=lambda index: len(missing & self._lines[index][1]), default=best)
        if len(missing & self._lines[other][1]) < NEIGHBOUR_ADDS:
            return best, best
        return min(best, other), max(best, other)


def _agreement(claim: frozenset[str], line: frozenset[str]) -> float:
    """F1 of the two word sets: a verbatim sentence gets 1, a long sentence is not favoured for its length."""
    common = len(claim & line)
    return 2 * common / (len(claim) + len(line)) if common else 0.0
