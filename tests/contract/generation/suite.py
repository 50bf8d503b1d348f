"""What every Generator promises (orchestrator.ports.Generator). Subclass it and give it a `rig`.

A test module of an adapter holds `class TestX(GeneratorSuite)` with a fixture `rig` returning a GeneratorRig, and
beside it what only that adapter can do wrong. Exceptions are attributes of the rig, each argued where it is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded
from orchestrator.ports import Generator
from orchestrator.types import FinishReason, GenerationEnd, GenerationEvent, Prompt, Sampling, TextPiece

WAIT_S = 5.0  # long enough for a stalled test machine, far below the suite's own limit


@dataclass
class GeneratorRig:
    """An adapter with its engine.

    Attributes:
        generator: Under test.
        prompt: One it has an answer of at least two pieces to.
        text: That answer.
        stopped: Returns once the engine noticed that nobody listens; None: there is no engine outside the coroutine.
        hold: Makes the engine pause after its first piece; None: it cannot pause.
    """

    generator: Generator
    prompt: Prompt
    text: str
    stopped: Callable[[], Awaitable[object]] | None = None
    hold: Callable[[], None] | None = None


async def collected(events: AsyncIterator[GenerationEvent]) -> list[GenerationEvent]:
    return [event async for event in events]


def text_of(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece))


class GeneratorSuite:
    async def test_text_comes_in_pieces_and_ends_once(self, rig: GeneratorRig) -> None:
        events = await collected(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S)))
        assert text_of(events) == rig.text
        assert len(events) > 2
        assert [isinstance(event, GenerationEnd) for event in events] == [False] * (len(events) - 1) + [True]
        assert all(event.text for event in events if isinstance(event, TextPiece))

    async def test_the_end_says_why_and_counts_what_it_can(self, rig: GeneratorRig) -> None:
        events = await collected(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S)))
        end = events[-1]
        assert isinstance(end, GenerationEnd)
        assert end.finish_reason is FinishReason.STOP
        assert end.completion_tokens is None or end.completion_tokens > 0

    async def test_a_spent_budget_says_nothing_at_all(self, rig: GeneratorRig) -> None:
        with pytest.raises(DeadlineExceeded):
            await collected(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(0)))

    async def test_two_answers_at_once_do_not_mix(self, rig: GeneratorRig) -> None:
        both = await asyncio.gather(
            *(collected(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S))) for _ in range(2))
        )
        assert [text_of(events) for events in both] == [rig.text, rig.text]

    async def test_leaving_after_the_first_piece_stops_the_engine(self, rig: GeneratorRig) -> None:
        if rig.hold:
            rig.hold()
        async with aclosing(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S))) as events:
            assert isinstance(await anext(events), TextPiece)
        if rig.stopped:
            await asyncio.wait_for(rig.stopped(), WAIT_S)

    async def test_cancelling_the_listener_is_not_swallowed_and_stops_the_engine(self, rig: GeneratorRig) -> None:
        if rig.hold:
            rig.hold()
        first = asyncio.Event()

        async def listen() -> None:
            async with aclosing(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S))) as events:
                async for _ in events:
                    first.set()
                    if not rig.hold:
                        await asyncio.Event().wait()

        listener = asyncio.create_task(listen())
        await asyncio.wait_for(first.wait(), WAIT_S)
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
        if rig.stopped:
            await asyncio.wait_for(rig.stopped(), WAIT_S)

    async def test_it_can_answer_again_after_it_was_left(self, rig: GeneratorRig) -> None:
        async with aclosing(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S))) as events:
            await anext(events)
        again = await collected(rig.generator.generate(rig.prompt, Sampling(), budget=Budget.of(WAIT_S)))
        assert text_of(again) == rig.text

    def test_it_names_itself_for_bills_and_cache_keys(self, rig: GeneratorRig) -> None:
        model = rig.generator.model
        assert model.name
        assert model.fingerprint
        assert model.context_tokens > 0
