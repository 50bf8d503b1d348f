"""Makes the unary answer out of the event list: the only way there is to make one."""

from __future__ import annotations

from collections.abc import Iterable

from chassis.errors import InternalError
from orchestrator.types import (
    Answer,
    AnswerCompleted,
    AnswerDelta,
    AnswerEvent,
    AnswerStarted,
    Citation,
    CitationAdded,
    RetrievalCompleted,
)


class Folding:
    """Takes an answer's events one by one and holds them to the order of orchestrator.types, rule 2."""

    def __init__(self) -> None:
        self._started: AnswerStarted | None = None
        self._retrieval: RetrievalCompleted | None = None
        self._citations: list[Citation] = []
        self._texts: list[str] = []
        self._completed: AnswerCompleted | None = None

    def add(self, event: AnswerEvent) -> None:
        """Raises InternalError when the event cannot come now: the pipeline broke its contract."""
        _require(self._completed is None, "an event after the terminal one")
        match event:
            case AnswerStarted():
                _require(self._started is None, "a second start")
                self._started = event
            case RetrievalCompleted():
                _require(self._started is not None and self._retrieval is None, "passages out of order")
                self._retrieval = event
            case CitationAdded(citation):
                _require(self._retrieval is not None, "a citation before the passages")
                self._citations.append(citation)
            case AnswerDelta(text):
                _require(self._retrieval is not None, "text before the passages")
                self._texts.append(text)
            case AnswerCompleted():
                _require(self._retrieval is not None, "an end before the passages")
                self._completed = event

    def answer(self) -> Answer:
        """The whole answer. Raises InternalError when the terminal event is missing."""
        if self._started is None or self._retrieval is None or self._completed is None:
            raise InternalError("the answer ended without its terminal event")
        return Answer(
            started=self._started,
            retrieval=self._retrieval,
            text="".join(self._texts),
            citations=tuple(self._citations),
            completed=self._completed,
        )


def fold(events: Iterable[AnswerEvent]) -> Answer:
    """The answer an event list stands for."""
    folding = Folding()
    for event in events:
        folding.add(event)
    return folding.answer()


def _require(is_in_order: bool, what: str) -> None:
    if not is_in_order:
        raise InternalError(f"the answer's events are out of order: {what}")
