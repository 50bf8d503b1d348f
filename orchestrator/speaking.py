"""Has a generator say the answer, with validated markers, and the extractive one when the model does not.

Rule 1: a model that fails before its first word is replaced, and the answer says so (MODEL_COLD, _OVERLOADED,
        _UNAVAILABLE); one that fails later ends the answer where it is: two voices in one text would be worse.
Rule 2: no passages, no model: the extractive generator says that nothing was found.
Rule 3: the first word is due within `first_token_s`, and while an extractive answer still fits into the longest
        waiter's time. How long a text may go on is the waiters' business (orchestrator.replay).
Rule 4: an engine that does not stop at max_tokens is stopped, and the answer is cut for its length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Protocol

from chassis.budget import Budget, Clock
from chassis.errors import DeadlineExceeded, ModelCold, ModelOverloaded, ModelUnavailable, RagError
from orchestrator.citations import CitationStream
from orchestrator.flights import Flight
from orchestrator.ports import Generator
from orchestrator.types import (
    AnswerCompleted,
    AnswerDelta,
    Citation,
    CitationAdded,
    Degradation,
    DegradedReason,
    FinishReason,
    GenerationEnd,
    ModelInfo,
    Prompt,
    RetrievalCompleted,
    Sampling,
    TextPiece,
)

# The longest piece of a SentencePiece vocabulary (its max_sentencepiece_length); prose has 4 characters to a token.
# More text than so much for every token means that the engine ignores max_tokens, and might never end.
MAX_TOKEN_CHARS = 16


@dataclass(frozen=True, slots=True)
class PromptBuilt:
    """In the log only: a waiter that leaves early is billed for these tokens at this model's price, and its part of the
    answer is judged by what was asked."""

    question: str
    prompt_tokens: int
    is_estimate: bool
    model: ModelInfo


LoggedEvent = RetrievalCompleted | PromptBuilt | CitationAdded | AnswerDelta | AnswerCompleted
AnswerFlight = Flight[LoggedEvent]


class Stage(Protocol):
    """Where an answer is made: an AnswerFlight, or something that stands before one."""

    @property
    def deadline(self) -> float: ...

    @property
    def is_shared(self) -> bool: ...

    def emit(self, event: LoggedEvent) -> None: ...

    def alarm(self, before_s: float) -> AbstractAsyncContextManager[asyncio.Timeout]: ...


@dataclass(slots=True)
class Speech:
    """What one generator said.

    Attributes:
        raw: As the engine said it, for counting tokens.
        end: None when the engine broke off.
    """

    model: ModelInfo
    stream: CitationStream
    citations: list[Citation] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    end: GenerationEnd | None = None
    degraded: tuple[Degradation, ...] = ()

    @property
    def text(self) -> str:
        return self.stream.text


@dataclass(frozen=True, slots=True)
class SpeakingLimits:
    """Seconds.

    Attributes:
        longest_s: Longest generation of a shared flight; its waiters leave, and end it, by themselves.
        first_token_s: Longest silence of a model before its first word.
        before_deadline_s: How long before the longest waiter's deadline the first word is due in any case.
    """

    longest_s: float
    first_token_s: float
    before_deadline_s: float


class Speaker:
    """Says answers.

    Args:
        generator: The model of this installation.
        fallback: Extractive; the same object when there is no other model.
        limits: How long the model may take.
    """

    def __init__(self, generator: Generator, fallback: Generator, *, limits: SpeakingLimits, clock: Clock) -> None:
        self._generator = generator
        self._fallback = fallback
        self._limits = limits
        self._clock = clock

    @property
    def model(self) -> ModelInfo:
        """The model that is asked first: what an answer announces."""
        return self._generator.model

    async def speak(self, prompt: Prompt, sampling: Sampling, flight: Stage) -> Speech:
        """Emit citations and deltas as they come; returns when all is said.

        Raises:
            ModelUnavailable: the extractive generator itself failed, before a word was said.
        """
        extract = _Turn(self._fallback, prompt, sampling, flight)
        if not prompt.sources or self._generator is self._fallback:
            return await extract.say(self._budget(flight))
        began = self._clock()
        turn = _Turn(self._generator, prompt, sampling, flight)
        try:
            async with (
                flight.alarm(self._limits.before_deadline_s) as near_deadline,
                asyncio.timeout(self._limits.first_token_s) as silent,
            ):
                return await turn.say(self._budget(flight), lambda: _off(near_deadline, silent))
        except (ModelUnavailable, DeadlineExceeded, TimeoutError) as error:
            has_begun = bool(turn.speech.text)
            lost = _lost(error, (self._clock() - began) * 1_000, has_begun=has_begun)
            if has_begun:
                turn.emit(turn.speech.stream.finish())
        speech = turn.speech if has_begun else await extract.say(self._budget(flight))
        speech.degraded = (lost,)
        return speech

    def _budget(self, flight: Stage) -> Budget:
        """A lone caller's own time; a shared flight's is open, since longer waiters may still board."""
        longest = Budget.of(self._limits.longest_s, self._clock)
        return longest if flight.is_shared else Budget(min(longest.deadline, flight.deadline), self._clock)


class _Turn:
    """One generator's try at one prompt."""

    def __init__(self, generator: Generator, prompt: Prompt, sampling: Sampling, flight: Stage) -> None:
        self._generator = generator
        self._prompt = prompt
        self._sampling = sampling
        self._flight = flight
        self._room_chars = sampling.max_tokens * MAX_TOKEN_CHARS
        self._has_begun = False
        self.speech = Speech(generator.model, CitationStream(prompt.sources))

    async def say(self, budget: Budget, on_first_word: Callable[[], None] = lambda: None) -> Speech:
        """Everything the generator says. Raises what it raises, and ModelUnavailable when it ends without a word."""
        async with aclosing(self._generator.generate(self._prompt, self._sampling, budget=budget)) as events:
            async for event in events:
                match event:
                    case TextPiece(text):
                        self._hear(text)
                        if self._has_begun:
                            on_first_word()
                        if self._room_chars < 0:
                            self._end(GenerationEnd(FinishReason.LENGTH))
                            break
                    case GenerationEnd():
                        self._end(event)
        if not self.speech.text:
            raise ModelUnavailable("the model ended without a word")
        if self.speech.end is None:
            raise ModelUnavailable("the model broke off")
        return self.speech

    def emit(self, events: Sequence[CitationAdded | AnswerDelta]) -> None:
        for event in events:
            if isinstance(event, CitationAdded):
                self.speech.citations.append(event.citation)
            self._flight.emit(event)

    def _hear(self, text: str) -> None:
        self.speech.raw.append(text)
        self._room_chars -= len(text)
        # Models like to begin with a blank or a new line: not a word yet, and no part of an answer.
        self.emit(self.speech.stream.push(text if self._has_begun else text.lstrip()))
        self._has_begun = self._has_begun or bool(self.speech.text)

    def _end(self, end: GenerationEnd) -> None:
        self.emit(self.speech.stream.finish())
        self.speech.end = end


def _off(*alarms: asyncio.Timeout) -> None:
    for alarm in alarms:
        alarm.reschedule(None)


def _lost(error: RagError | TimeoutError, milliseconds: float, *, has_begun: bool) -> Degradation:
    match error:
        case ModelCold():
            reason, what = DegradedReason.MODEL_COLD, "The model is loading"
        case ModelOverloaded():
            reason, what = DegradedReason.MODEL_OVERLOADED, "The model is overloaded"
        case _:
            reason, what = DegradedReason.MODEL_UNAVAILABLE, "The model did not answer"
    effect = (
        "the text stops where it broke off." if has_begun else "sentences of the sources were put together instead."
    )
    retry_after_s = (error.retry_after_s or 0.0) if isinstance(error, RagError) else 0.0
    return Degradation("generate", reason, f"{what}: {effect}", milliseconds, retry_after_s)
