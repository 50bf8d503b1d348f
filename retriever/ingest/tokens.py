"""How long a stretch of text is, in tokens: asked thousands of times per document, tokenised once.

Rule 1: a token counts for at least one, and for one per CHARS_PER_TOKEN characters: the tokenizer takes a word of
        10,000 letters, or a run of signs it does not know, for one token or none, and such a chunk would have no bound.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from embedding.ports import TokenSpans

# English has 4 to 5 characters per token; 12 leaves long words of other languages alone.
CHARS_PER_TOKEN = 12

SLICE_CHARS = 1 << 16  # some 10 MiB of the tokenizer's memory at a time

# A letter run in pieces of four, or one sign: some 10 % more than WordPiece finds in English, so chunks err small.
_ESTIMATE = re.compile(r"\w{1,4}|[^\w\s]")


class EstimatedSpans:
    """TokenSpans where there is no model: close enough for sizes."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in _ESTIMATE.finditer(text)]

    def count(self, text: str) -> int:
        return sum(1 for _ in _ESTIMATE.finditer(text))


def _slices(text: str) -> Iterator[tuple[int, int]]:
    """The text in pieces that end after white space, where no token goes on: a tokenizer's own memory is 150 bytes a
    character, which a text of 32 MiB must not be multiplied with."""
    begin = 0
    while begin < len(text):
        end = min(len(text), begin + SLICE_CHARS)
        if end < len(text):
            border = max(text.rfind(" ", begin, end), text.rfind("\n", begin, end))
            end = border + 1 if border > begin else end
        yield begin, end
        begin = end


class Measure:
    """Sizes of parts of one text.

    Args:
        text: The whole text.
        tokens: The tokenizer, called once.
    """

    def __init__(self, text: str, tokens: TokenSpans) -> None:
        self._text = text
        self._tokens = tokens
        self._starts = array("q")
        for begin, end in _slices(text):
            self._starts.extend(begin + start for start, stop in tokens.spans(text[begin:end]) if stop > start)

    def count(self, start: int, end: int) -> int:
        """Tokens that begin in text[start:end], by rule 1; at least 1."""
        found = bisect_left(self._starts, end) - bisect_left(self._starts, start)
        return max(found, -(-(end - start) // CHARS_PER_TOKEN), 1)

    def split(self, start: int, end: int, limit: int) -> Iterator[tuple[int, int, int]]:
        """text[start:end] in parts (start, end, tokens) of at most `limit`: at white space if there is some near."""
        size = self.count(start, end)
        if size <= limit or end - start == 1:
            yield start, end, size
            return
        for from_, to in self._parts(start, end, limit):
            # Counted anew: a word the tokenizer gave up on as a whole may be many tokens in parts.
            part = Measure(self._text[from_:to], self._tokens)
            for inner_from, inner_to, inner_size in part.split(0, to - from_, limit):
                yield from_ + inner_from, from_ + inner_to, inner_size

    def _parts(self, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
        while self.count(start, end) > limit and end - start > 1:
            cut = stop = self._last_border(start, end, limit)
            while stop > start and self._text[stop - 1].isspace():
                stop -= 1
            yield start, stop
            start = cut
            while start < end and self._text[start].isspace():
                start += 1
        if start < end:
            yield start, end

    def _last_border(self, start: int, end: int, limit: int) -> int:
        first = bisect_left(self._starts, start)
        cut = min(end, start + limit * CHARS_PER_TOKEN)
        if first + limit < len(self._starts):
            cut = min(cut, self._starts[first + limit])
        blank = next((i for i in range(cut, start, -1) if self._text[i - 1].isspace()), start)
        # A border in the first half would leave a scrap: cut between tokens instead.
        return blank if blank - start > (cut - start) // 2 else max(cut, start + 1)
