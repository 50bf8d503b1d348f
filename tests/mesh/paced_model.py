"""A language model that takes its time: a word at each beat, and answers that go on for as long as a test holds them.

It speaks OpenAI's chat completions on a socket, as the model server of tests/contract does, and says which model it was
asked for: so an answer's own words tell the variant that made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.contract.generation.model_server import DONE, ModelServer, Reply, Request, chunk, running, usage

BEAT_S = 0.25  # between two words: four a second, a slow model
LONG = 100  # max_tokens from which on an answer is a long one, which can be held
PROMPT_TOKENS = 100


class PacedModel:
    """See the module.

    Attributes:
        words: Of a long answer, when nothing holds it.
    """

    def __init__(self, server: ModelServer, words: int) -> None:
        self.words = words
        self._server = server
        self._is_held = False
        server.reply = self._reply

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @contextmanager
    def held(self) -> Iterator[None]:
        """No long answer ends within the block; they go on, a word a beat."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def _reply(self, request: Request) -> Reply:
        self._server.requests.clear()  # of thousands
        model, allowed = request.body["model"], request.body["max_tokens"]
        return Reply(self._long(model) if allowed >= LONG else self._short(model))  # type: ignore[arg-type]  # made as it is sent

    @staticmethod
    def _short(model: str) -> Iterator[bytes]:
        yield from (chunk(f"{model} [1]"), *_end(2))

    def _long(self, model: str) -> Iterator[bytes | asyncio.Event]:
        count = 0
        while self._is_held or count < self.words:
            count += 1
            yield chunk(f"{model} ")
            yield _beat()
        yield from (chunk(f"{model} [1]"), *_end(count + 1))


def _end(count: int) -> tuple[bytes, ...]:
    return chunk(finish_reason="stop"), usage(PROMPT_TOKENS, count), DONE


def _beat() -> asyncio.Event:
    """Set when the next word is due; the server waits for it."""
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(BEAT_S, due.set)
    return due


@asynccontextmanager
async def paced_model(words: int) -> AsyncIterator[PacedModel]:
    async with running() as server:
        yield PacedModel(server, words)
