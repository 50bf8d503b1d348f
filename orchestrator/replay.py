"""One waiter's view of a flight: the log at its own pace, under its own deadline, with its own account.

Rule 1: a waiter leaves `trim_s` before its own deadline. With passages it takes what was said so far along, marked
        DEADLINE_TRIMMED; without, there is nothing to answer with and it fails with DEADLINE_EXCEEDED.
Rule 2: the leader pays. A follower's usage and cost are 0 and say what was saved.
Rule 3: the first text goes out at once. Later text that has piled up while the caller was being served goes out as one
        delta; under load a waiter also pauses up to `pace_s` between deltas, so that tokens of fast engines travel in
        company (relaying one costs 50 us of CPU).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chassis.budget import Budget, Clock
from chassis.errors import DeadlineExceeded, InternalError
from orchestrator.grounding import assess
from orchestrator.ports import TokenCounter
from orchestrator.pricing import billed, saved
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

TRIM_S = 0.150  # design.md section 2: time to send what was said and its end
PACE_S = 0.020  # design.md section 3.7: nobody reads faster
BUSY_WAITERS = 16  # callers being served at once from which on deltas are paced: below, 2 cores relay every token

WaiterEvent = RetrievalCompleted | CitationAdded | AnswerDelta | AnswerCompleted


class Stopwatch:
    """The times of one ask, from its arrival."""

    def __init__(self, clock: Clock, *, queue_ms: float = 0.0) -> None:
        self._clock = clock
        self._arrived = clock() - queue_ms / 1_000
        self._first: float | None = None
        self._last: float | None = None
        self.queue_ms = queue_ms

    def text_came(self) -> None:
        self._last = self._clock()
        self._first = self._first or self._last

    def timings(self, **known: float) -> Timings:
        """Everything measured; `known` are the stages measured elsewhere, in milliseconds."""
        first, last = self._first or self._arrived, self._last or self._arrived
        return Timings(
            total_ms=(self._clock() - self._arrived) * 1_000,
            queue_ms=self.queue_ms,
            first_token_ms=(first - self._arrived) * 1_000,
            generate_ms=(last - first) * 1_000,
            **known,
        )


@dataclass(slots=True)
class _Said:
    """What of the answer this waiter has passed on."""

    retrieval: RetrievalCompleted | None = None
    prompt: PromptBuilt | None = None
    citations: list[CitationAdded] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


class Waiter:
    """Replays a flight to one caller.

    Args:
        budget: The caller's own.
        is_leader: The answer is made for this caller, who pays for it.
        degraded: What this ask alone had to do without (its cache lookup).
        is_busy: Whether deltas are to be paced now.
    """

    def __init__(
        self,
        flight: AnswerFlight,
        watch: Stopwatch,
        *,
        budget: Budget,
        is_leader: bool,
        degraded: Iterable[Degradation],
        counter: TokenCounter,
        is_busy: bool,
    ) -> None:
        self._flight = flight
        self._watch = watch
        self._budget = budget
        self._is_leader = is_leader
        self._degraded = tuple(degraded)
        self._counter = counter
        self._is_busy = is_busy
        self._said = _Said()

    async def accepted(self) -> None:
        """Return when there are passages, or no more time for them. Raises what the flight failed with instead."""
        if await self._moved_past(0, self._leaving()) and not self._flight.log:
            await self._flight.outcome()

    async def events(self, **known_ms: float) -> AsyncIterator[WaiterEvent]:
        """The answer, its completion last. `known_ms` are the stages before the flight, for the timings."""
        position = 0
        leaves = self._leaving()
        while await self._moved_past(position, leaves):
            batch = self._flight.log[position:]
            position += len(batch)
            if not batch:
                await self._flight.outcome()
                raise InternalError("the answer ended without its terminal event")
            for event in _coalesced(batch):
                match event:
                    case PromptBuilt():
                        self._said.prompt = event
                    case AnswerCompleted():
                        yield self._mine(event, known_ms)
                        return
                    case _:
                        self._note(event)
                        yield event
            if self._is_busy and self._said.texts:
                await asyncio.sleep(min(PACE_S, leaves.remaining_s()))
        yield self._trimmed(known_ms)

    def _leaving(self) -> Budget:
        """Until when to wait for text: there must be time left to say that it was cut."""
        return self._budget.less(min(TRIM_S, self._budget.remaining_s() / 2))

    async def _moved_past(self, position: int, leaves: Budget) -> bool:
        """Wait for more; False when this waiter's time is up."""
        if leaves.is_spent:
            return False
        try:
            async with asyncio.timeout(leaves.remaining_s()):
                await self._flight.moved_past(position)
        except TimeoutError:
            return False
        return True

    def _note(self, event: WaiterEvent) -> None:
        match event:
            case RetrievalCompleted():
                self._said.retrieval = event
            case CitationAdded():
                self._said.citations.append(event)
            case AnswerDelta(text):
                self._said.texts.append(text)
                self._watch.text_came()

    def _mine(self, completed: AnswerCompleted, known_ms: dict[str, float]) -> AnswerCompleted:
        usage, cost = self._account(completed.usage, completed.cost)
        timings = self._watch.timings(retrieve_ms=completed.timings.retrieve_ms, **known_ms)
        degraded = (*self._degraded, *completed.degraded)
        return replace(completed, usage=usage, cost=cost, timings=timings, degraded=degraded)

    def _trimmed(self, known_ms: dict[str, float]) -> AnswerCompleted:
        retrieval, text = self._said.retrieval, "".join(self._said.texts)
        if retrieval is None:
            raise DeadlineExceeded("the deadline passed before there were passages: allow more time")
        usage, cost = self._account(*self._spent(text))
        effect = "The text stops where the deadline was near."
        trimmed = Degradation("generate", DegradedReason.DEADLINE_TRIMMED, effect)
        return AnswerCompleted(
            finish_reason=FinishReason.DEADLINE,
            usage=usage,
            timings=self._watch.timings(retrieve_ms=retrieval.milliseconds, **known_ms),
            cost=cost,
            grounding=self._grounding(text, retrieval.sources),
            cited_markers=tuple(dict.fromkeys(added.citation.marker for added in self._said.citations)),
            degraded=(*self._degraded, *retrieval.degraded, trimmed),
            is_partial=True,
        )

    def _grounding(self, text: str, sources: Sequence[Source]) -> Grounding:
        """An empty text supports nothing, and does not say that the sources do not answer either."""
        prompt = self._said.prompt
        if prompt is None or not text:
            return Grounding.PARTIAL
        return assess(prompt.question, text, sources, FinishReason.DEADLINE)

    def _spent(self, text: str) -> tuple[Usage, Cost]:
        prompt = self._said.prompt
        if prompt is None:
            return Usage(), Cost()
        tokens = self._counter.count(text) if text else 0
        is_estimate = prompt.is_estimate or self._counter.is_estimate
        usage = Usage(prompt.prompt_tokens, tokens, is_estimate=is_estimate)
        return usage, billed(prompt.model, usage)

    def _account(self, usage: Usage, cost: Cost) -> tuple[Usage, Cost]:
        return (usage, cost) if self._is_leader and not self._flight.is_borrowed else saved(usage, cost)


def _coalesced(batch: Iterable[LoggedEvent]) -> Iterator[LoggedEvent]:
    """Adjacent text as one delta, put after the citations between it: each stays before its marker's first delta."""
    texts: list[str] = []
    for event in batch:
        if isinstance(event, AnswerDelta):
            texts.append(event.text)
            continue
        if texts and not isinstance(event, CitationAdded):
            yield AnswerDelta("".join(texts))
            texts.clear()
        yield event
    if texts:
        yield AnswerDelta("".join(texts))
