"""From generated text to text whose every marker is true: markers are validated, split and given their citation.

Rule 1: the result depends on the text alone, never on how it was cut into pieces: what can only be judged later is held
        back, at most HELD_CHARS characters from a "[" (and the blank before it), everything else goes out at once.
Rule 2: "[2]" passes when source 2 was given to the model; "[1, 3]" becomes "[1][3]"; a number that is no source is
        dropped with the blank before it. "[x]", "[2019]", "[1-3]" and what holds a 0 ("a[0]", "[0, 1]") are text and
        pass as they are.
Rule 3: code is not prose: between backticks (to the end of the line) and in a fenced block "[1]" is an index. It passes
        untouched and cites nothing; a fence that is never closed stays code to the end.
Rule 4: a marker's use announces its citation: the words of the source that support the sentence it closes, verbatim,
        with offsets in the document. A later use is announced again when other words support it, so that every
        sentence can be checked; the marker still counts once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.listings import listings
from orchestrator.quotes import Quoter
from orchestrator.sentences import sentences
from orchestrator.types import AnswerDelta, CitationAdded, Source

__all__ = ["HELD_CHARS", "CitationStream", "Marker", "find_markers"]

HELD_CHARS = 8  # "[12, 13]": longer lists are worked off number by number
CLAIM_CHARS = 1_200  # of the text before a marker: two sentences at their longest
TAIL_CHARS = 4  # "[123": the longest beginning of a marker that a "]" would finish

_COMPLETE = re.compile(r"\[ ?[1-9]\d{0,2}(?: ?, ?[1-9]\d{0,2})* ?\]")
_PREFIX = re.compile(r"\[ ?(?:[1-9]\d{0,2} ?, ?)*(?:[1-9]\d{0,2} ?)?")
_NUMBER = re.compile(r"\d{1,3}")
_FENCE = "```"
# What cannot begin a marker or change the code state: the common case, taken in one step.
_PLAIN = re.compile(r"(?:[^\[` ]| (?=[^\[` ]))+")
_OPEN_TAIL = re.compile(r"\[\d{0,3}$")


@dataclass(frozen=True, slots=True)
class Marker:
    """One "[n]" in a finished text: text[start:end]."""

    number: int
    start: int
    end: int


class CitationStream:
    """Feed it the engine's text, send what it returns, call `finish` once at the end.

    Args:
        sources: Those the model was given (Prompt.sources): nothing else can be cited.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._quoters = {source.marker: Quoter(source) for source in sources}
        self._code = _CodeState()
        self._held = ""
        self._said: list[str] = []
        self._claim = ""  # what the next marker closes: the text since the last one, at most CLAIM_CHARS
        self._tail = ""  # the last characters let through, markers included
        self._is_closed = False  # a marker was seen since: the next word begins a claim of its own
        self._quotes: dict[int, list[tuple[int, int]]] = {}  # by marker, in order of first appearance

    @property
    def cited_markers(self) -> tuple[int, ...]:
        """In order of first appearance."""
        return tuple(self._quotes)

    @property
    def text(self) -> str:
        """Everything let through so far."""
        return "".join(self._said)

    def push(self, text: str) -> list[CitationAdded | AnswerDelta]:
        """More of the engine's text; returns what may be sent now, citations before the delta with their marker."""
        out = _Outbox()
        position = 0
        while position < len(text):
            plain = None if self._held or self._code.is_code else _PLAIN.match(text, position)
            if plain:
                self._say(plain.group(), out)
                position = plain.end()
            else:
                self._take(text[position], out)
                position += 1
        return self._sent(out)

    def finish(self) -> list[CitationAdded | AnswerDelta]:
        """The engine is done: what was held back is text after all."""
        out = _Outbox()
        self._release(out, "")
        return self._sent(out)

    def _take(self, char: str, out: _Outbox) -> None:
        held = self._held + char
        if self._code.is_code or not _may_become_marker(held):
            self._release(out, char)
        elif _COMPLETE.fullmatch(held.lstrip(" ")):
            self._mark(held, out)
        elif len(held.lstrip(" ")) >= HELD_CHARS:
            self._held = self._shortened(held, out)
        else:
            self._held = held

    def _release(self, out: _Outbox, char: str) -> None:
        """`held` cannot become a marker with `char`: it is text, but `char` may begin one itself."""
        text, self._held = self._held, ""
        if not self._code.is_code and char and _may_become_marker(char):
            self._held, char = char, ""
        self._say(text + char, out)

    def _mark(self, held: str, out: _Outbox) -> None:
        blank = held[: len(held) - len(held.lstrip(" "))]
        self._held = ""
        for number in dict.fromkeys(int(match) for match in _NUMBER.findall(held)):
            if number in self._quoters:
                self._cite(number, out)
                self._is_closed = True
                self._let_through(f"{blank}[{number}]", out)
                blank = ""
            elif _OPEN_TAIL.search(self._tail):  # "[1[99]]": what is left must not close up to a marker
                self._say(" ", out)

    def _shortened(self, held: str, out: _Outbox) -> str:
        """A list too long to hold: its finished numbers pass as markers, the rest goes on as a list of its own."""
        head, comma, tail = held.rpartition(",")
        if not comma:  # "[ 12    " cannot happen with three digits and single blanks, but text must never be lost
            self._say(held, out)
            return ""
        self._mark(f"{head}]", out)
        return f"[{tail.lstrip(' ')}"

    def _cite(self, number: int, out: _Outbox) -> None:
        citation = self._quoters[number].citation_for(_last_claim(self._claim))
        quotes = self._quotes.setdefault(number, [])
        if not any(start <= citation.start_char and citation.end_char <= end for start, end in quotes):
            quotes.append((citation.start_char, citation.end_char))
            out.flush()
            out.events.append(CitationAdded(citation))

    def _say(self, text: str, out: _Outbox) -> None:
        self._code.read(text)
        self._let_through(text, out)
        first = next((index for index, char in enumerate(text) if char.isalnum()), None)
        if self._is_closed and first is not None:
            self._claim, self._is_closed, text = "", False, text[first:]
        self._claim = (self._claim + text)[-CLAIM_CHARS:]

    def _let_through(self, text: str, out: _Outbox) -> None:
        self._tail = (self._tail + text)[-TAIL_CHARS:]
        out.text.append(text)

    def _sent(self, out: _Outbox) -> list[CitationAdded | AnswerDelta]:
        out.flush()
        self._said += [event.text for event in out.events if isinstance(event, AnswerDelta)]
        return out.events


def find_markers(text: str) -> Iterator[Marker]:
    """The markers of a finished answer, code left out: what a reader of `AnswerDelta`s takes for citations."""
    code = _CodeState()
    position = 0
    for match in re.finditer(r"\[([1-9]\d{0,2})\]", text):
        code.read(text[position : match.start()])
        position = match.start()
        if not code.is_code:
            yield Marker(int(match.group(1)), match.start(), match.end())


class _Outbox:
    """Events in order; text is gathered until something has to stand before it."""

    def __init__(self) -> None:
        self.events: list[CitationAdded | AnswerDelta] = []
        self.text: list[str] = []

    def flush(self) -> None:
        if text := "".join(self.text):
            self.events.append(AnswerDelta(text))
        self.text.clear()


class _CodeState:
    """Whether the text read so far ends inside code."""

    def __init__(self) -> None:
        self._in_fence = False
        self._in_span = False
        self._ticks = 0

    @property
    def is_code(self) -> bool:
        return self._in_fence or self._in_span

    def read(self, text: str) -> None:
        for char in text:
            if char == "`":
                self._tick()
            else:
                self._ticks = 0
                self._in_span = self._in_span and char != "\n"

    def _tick(self) -> None:
        """One tick toggles a span, the third in a row toggles the fence (and undoes what the first two did)."""
        self._ticks += 1
        if self._ticks == len(_FENCE):
            self._in_fence, self._in_span, self._ticks = not self._in_fence, False, 0
        elif not self._in_fence:
            self._in_span = not self._in_span


def _may_become_marker(held: str) -> bool:
    """Whether more characters could make it one: a single blank, or the beginning of a list of numbers."""
    return held == " " or _PREFIX.fullmatch(held.removeprefix(" ")) is not None or _is_complete(held)


def _is_complete(held: str) -> bool:
    return _COMPLETE.fullmatch(held.removeprefix(" ")) is not None


def _last_claim(text: str) -> str:
    """The last sentence that has a word, or the list it belongs to, introduction included."""
    said = [(span.start, span.end) for span in sentences(text)]
    if not said:
        return ""
    start, end = next((each for each in reversed(said) if any(map(str.isalnum, text[slice(*each)]))), said[-1])
    whole = (listing for listing in listings(text) if listing[0] <= start and end <= listing[1])
    return text[slice(*next(whole, (start, end)))]
