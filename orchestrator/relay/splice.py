"""Takes an answer up where another replica left it: made anew here, and heard from where the callers have it on.

A generator that says the same again (an extractive one, a model without temperature) is joined without a seam. One that
says something else is stopped, and the answer ends where it is: two voices in one text would be worse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from orchestrator.grounding import assess
from orchestrator.speaking import AnswerFlight, LoggedEvent, PromptBuilt
from orchestrator.types import (
    AnswerCompleted,
    AnswerDelta,
    CitationAdded,
    Cost,
    Degradation,
    DegradedReason,
    FinishReason,
    Grounding,
    RetrievalCompleted,
    Source,
    Timings,
    Usage,
)


class Diverged(Exception):
    """The answer made here is another one."""


class Splice:
    """A Stage before `flight`, whose log holds what was said already; raises Diverged out of `emit`."""

    def __init__(self, flight: AnswerFlight) -> None:
        self._flight = flight
        self._retrieval: RetrievalCompleted | None = None
        self._prompt: PromptBuilt | None = None
        self._citations: list[CitationAdded] = []
        self._text = ""
        for event in flight.log:
            match event:
                case RetrievalCompleted():
                    self._retrieval = event
                case PromptBuilt():
                    self._prompt = event
                case CitationAdded():
                    self._citations.append(event)
                case AnswerDelta(text):
                    self._text += text
        self._to_skip = self._text

    @property
    def deadline(self) -> float:
        return self._flight.deadline

    @property
    def is_shared(self) -> bool:
        return self._flight.is_shared

    def alarm(self, before_s: float) -> AbstractAsyncContextManager[asyncio.Timeout]:
        return self._flight.alarm(before_s)

    def emit(self, event: LoggedEvent) -> None:
        match event:
            case RetrievalCompleted():
                if self._retrieval is not None:
                    _require(_chunks(event.sources) == _chunks(self._retrieval.sources))
                    return
            case PromptBuilt() if self._prompt is not None:
                return
            case CitationAdded() if event in self._citations:
                return
            case AnswerDelta(text):
                self._continue(text)
                return
            case CitationAdded() | AnswerCompleted():
                _require(not self._to_skip)
        self._flight.emit(event)

    def broken_off(self) -> AnswerCompleted:
        """The end of an answer that nobody can go on with."""
        retrieval = self._retrieval
        effect = "The replica that made this answer is gone: the text stops where it broke off."
        lost = Degradation("generate", DegradedReason.MODEL_UNAVAILABLE, effect)
        grounding = Grounding.PARTIAL  # an empty text supports nothing, and does not say that nothing was found either
        if retrieval is not None and self._prompt is not None and self._text:
            grounding = assess(self._prompt.question, self._text, retrieval.sources, FinishReason.ERROR)
        return AnswerCompleted(
            finish_reason=FinishReason.ERROR,
            usage=Usage(),
            timings=Timings(),
            cost=Cost(),
            grounding=grounding,
            cited_markers=tuple(dict.fromkeys(added.citation.marker for added in self._citations)),
            degraded=(*(retrieval.degraded if retrieval is not None else ()), lost),
            is_partial=True,
        )

    def _continue(self, text: str) -> None:
        skipped = min(len(text), len(self._to_skip))
        _require(text[:skipped] == self._to_skip[:skipped])
        self._to_skip = self._to_skip[skipped:]
        if text[skipped:]:
            self._flight.emit(AnswerDelta(text[skipped:]))


def _chunks(sources: Sequence[Source]) -> list[tuple[int, str]]:
    """What the markers of a text stand for; scores may differ between two retrievals."""
    return [(source.marker, source.chunk_id) for source in sources]


def _require(is_the_same: bool) -> None:
    if not is_the_same:
        raise Diverged
