"""Makes one answer out of a question: passages, prompt, text, and the account of what it took. What a flight does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from chassis.budget import Budget, Clock
from chassis.errors import BackendUnavailable, DeadlineExceeded, RetrieverUnavailable
from orchestrator.grounding import assess
from orchestrator.lookup import Lookup
from orchestrator.ports import Embedder, Retriever, TokenCounter
from orchestrator.pricing import billed
from orchestrator.prompt import PromptBuilder
from orchestrator.speaking import PromptBuilt, Speaker, Speech, Stage
from orchestrator.turns import RETRY_AFTER_S, Turns
from orchestrator.types import (
    AnswerCompleted,
    Citation,
    Degradation,
    FinishReason,
    Grounding,
    Prompt,
    Question,
    Retrieval,
    RetrievalCompleted,
    Timings,
    Usage,
)

MIN_RETRIEVE_S = 0.150  # however slow the snapshot was: less would fail retrievals that are merely busy


@dataclass(frozen=True, slots=True)
class RetrievalLimits:
    """Seconds: the timebox of one retrieval, and of snapshot and retrieval together (300 ms less the reply).

    `at_once` retrievals are under way at most. The timebox begins when one's turn comes: were it to run while 300 asks
    push one another aside at the retriever, all of them would be too late (measured: 7 of 300 answered).
    """

    retrieve_s: float = 0.250
    retriever_total_s: float = 0.285
    at_once: int = 8


@dataclass(frozen=True, slots=True)
class Made:
    """A whole answer, as it may be stored."""

    retrieval: Retrieval
    passages: RetrievalCompleted
    text: str
    citations: tuple[Citation, ...]
    completed: AnswerCompleted


Store = Callable[[Made], Awaitable[None]]


class AnswerMaker:
    """Makes answers. `counter` counts tokens where an engine does not say."""

    def __init__(
        self,
        *,
        retriever: Retriever,
        embedder: Embedder | None,
        speaker: Speaker,
        prompts: PromptBuilder,
        counter: TokenCounter,
        limits: RetrievalLimits,
        clock: Clock,
    ) -> None:
        self._retriever = retriever
        self._fingerprint = embedder.fingerprint if embedder is not None else ""
        self._speaker = speaker
        self._prompts = prompts
        self._counter = counter
        self._limits = limits
        self._clock = clock
        self._turns = Turns(limits.at_once, limits.retrieve_s, clock)

    async def make(self, question: Question, found: Lookup, flight: Stage, store: Store) -> None:
        """Emit the whole answer. It is stored before its end is announced: whoever asks again then, finds it."""
        async with self._turns.turn():
            retrieval = await self._retrieve(question, found, flight)
        passages = _passages(retrieval)
        flight.emit(passages)
        began = self._clock()
        prompt = self._prompts.build(question.text, retrieval.sources, question.sampling.max_tokens)
        flight.emit(PromptBuilt(question.text, prompt.prompt_tokens, prompt.is_estimate, self._speaker.model))
        speech = await self._speaker.speak(prompt, question.sampling, flight)
        timings = Timings(
            retrieve_ms=retrieval.milliseconds, embed_ms=found.embed_ms, generate_ms=(self._clock() - began) * 1_000
        )
        completed = self._completed(prompt, speech, retrieval.degraded, timings)
        await store(Made(retrieval, passages, speech.text, tuple(speech.citations), completed))
        flight.emit(completed)

    async def _retrieve(self, question: Question, found: Lookup, flight: Stage) -> Retrieval:
        fingerprint = self._fingerprint if found.vector is not None else ""
        began = self._clock()
        try:
            retrieval = await self._retriever.retrieve(
                question, found.vector, fingerprint, budget=self._timebox(found, flight)
            )
        except DeadlineExceeded as error:
            if Budget(flight.deadline, self._clock).is_spent:  # as it is now: others may have boarded since
                raise
            raise RetrieverUnavailable("the retriever is too slow: try again", retry_after_s=RETRY_AFTER_S) from error
        except BackendUnavailable as error:
            error.retry_after_s = error.retry_after_s or RETRY_AFTER_S
            raise
        return replace(retrieval, milliseconds=(self._clock() - began) * 1_000)

    def _timebox(self, found: Lookup, flight: Stage) -> Budget:
        """No longer than a lone caller waits; whoever waits for a shared flight leaves, and ends it, by themselves."""
        left_s = self._limits.retriever_total_s - found.snapshot_ms / 1_000
        timebox = Budget.of(min(self._limits.retrieve_s, max(MIN_RETRIEVE_S, left_s)), self._clock)
        return timebox if flight.is_shared else Budget(min(timebox.deadline, flight.deadline), self._clock)

    def _completed(
        self, prompt: Prompt, speech: Speech, degraded: tuple[Degradation, ...], timings: Timings
    ) -> AnswerCompleted:
        finish = speech.end.finish_reason if speech.end is not None else FinishReason.ERROR
        grounding = assess(prompt.question, speech.text, prompt.sources, finish)
        if grounding is Grounding.NOT_FOUND and finish is FinishReason.STOP:
            finish = FinishReason.NOT_FOUND
        usage = self._usage(prompt, speech)
        return AnswerCompleted(
            finish_reason=finish,
            usage=usage,
            timings=timings,
            cost=billed(speech.model, usage),
            grounding=grounding,
            cited_markers=speech.stream.cited_markers,
            degraded=(*degraded, *speech.degraded),
            is_partial=finish in {FinishReason.ERROR, FinishReason.LENGTH, FinishReason.DEADLINE},
        )

    def _usage(self, prompt: Prompt, speech: Speech) -> Usage:
        """The engine's own counts where it gives them, the tokenizer's where not."""
        end = speech.end
        prompt_tokens = end.prompt_tokens if end is not None else None
        completion_tokens = end.completion_tokens if end is not None else None
        is_estimate = end is not None and end.is_estimate
        if prompt_tokens is None:
            prompt_tokens, is_estimate = prompt.prompt_tokens, is_estimate or prompt.is_estimate
        if completion_tokens is None:
            completion_tokens = self._counter.count("".join(speech.raw))
            is_estimate = is_estimate or self._counter.is_estimate
        return Usage(prompt_tokens, completion_tokens, is_estimate=is_estimate)


def _passages(retrieval: Retrieval) -> RetrievalCompleted:
    return RetrievalCompleted(
        sources=retrieval.sources,
        degraded=retrieval.degraded,
        milliseconds=retrieval.milliseconds,
        collection_uid=retrieval.snapshot.collection_uid,
        generation=retrieval.snapshot.generation,
    )
