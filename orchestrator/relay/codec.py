"""A flight's events as bytes and back. Adjacent text travels as one delta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from orchestrator.speaking import LoggedEvent, PromptBuilt
from orchestrator.types import AnswerCompleted, AnswerDelta, CitationAdded, RetrievalCompleted


class Unreadable(Exception):
    """Bytes that are no chunk: another version of this program told them."""


@dataclass(frozen=True, slots=True)
class _Said:
    """One event; exactly one field is set."""

    retrieval: RetrievalCompleted | None = None
    prompt: PromptBuilt | None = None
    citation: CitationAdded | None = None
    delta: AnswerDelta | None = None
    completed: AnswerCompleted | None = None

    @property
    def event(self) -> LoggedEvent | None:
        return self.retrieval or self.prompt or self.citation or self.delta or self.completed


_SAID = TypeAdapter(list[_Said])


def encoded(events: Sequence[LoggedEvent]) -> bytes:
    return _SAID.dump_json([_said(event) for event in _joined(events)], exclude_none=True)


def decoded(content: bytes) -> list[LoggedEvent]:
    """Raises Unreadable."""
    try:
        events = [said.event for said in _SAID.validate_json(content)]
    except ValidationError as exc:
        raise Unreadable from exc
    if any(event is None for event in events):
        raise Unreadable
    return [event for event in events if event is not None]


def _joined(events: Iterable[LoggedEvent]) -> list[LoggedEvent]:
    joined: list[LoggedEvent] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, AnswerDelta) and isinstance(last, AnswerDelta):
            joined[-1] = AnswerDelta(last.text + event.text)
        else:
            joined.append(event)
    return joined


def _said(event: LoggedEvent) -> _Said:
    match event:
        case RetrievalCompleted():
            return _Said(retrieval=event)
        case PromptBuilt():
            return _Said(prompt=event)
        case CitationAdded():
            return _Said(citation=event)
        case AnswerDelta():
            return _Said(delta=event)
        case AnswerCompleted():
            return _Said(completed=event)
