"""Asks over REST and gRPC, timed at the client: the first character of the answer, or the whole of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from askmesh.answers import Delta
from askmesh.client import AsyncClient
from bench.speed.http import Connection

COLLECTION = "bench"


def rest_first_token(http: Connection, questions: Sequence[str]) -> Callable[[int], Awaitable[float]]:
    """Milliseconds until the first answer.delta of a streamed, uncached ask has arrived."""

    async def ask(index: int) -> float:
        body = {"question": questions[index], "cachePolicy": "CACHE_POLICY_BYPASS"}
        started = time.perf_counter()
        first = 0.0
        async for chunk in http.stream(f"/v1/collections/{COLLECTION}:streamAsk", body):
            if not first and b"event: answer.delta" in chunk:
                first = (time.perf_counter() - started) * 1e3
        return first

    return ask


def rest_hit(http: Connection, question: str) -> Callable[[int], Awaitable[None]]:
    """One and the same unary ask over REST; it must be an exact hit once it is warm."""

    async def ask(index: int) -> None:
        reply = await http.post(f"/v1/collections/{COLLECTION}:ask", {"question": question})
        assert index < 0 or b"CACHE_STATUS_HIT_EXACT" in reply, "measured something else than a hit"

    return ask


def grpc_hit(client: AsyncClient, question: str) -> Callable[[int], Awaitable[None]]:
    """The same over gRPC."""

    async def ask(index: int) -> None:
        answer = await client.ask(question, collection=COLLECTION)
        assert index < 0 or answer.started.cache == "HIT_EXACT", f"measured {answer.started.cache} instead of a hit"

    return ask


async def answered(client: AsyncClient, questions: Sequence[str]) -> str:
    """The first question that gets an answer: only answers are cached, so a hit cannot be measured on a refusal."""
    for question in questions:
        if (await client.ask(question, collection=COLLECTION)).grounding != "NOT_FOUND":
            return question
    raise AssertionError("the corpus answers none of the questions")


def grpc_first_token(client: AsyncClient, questions: Sequence[str]) -> Callable[[int], Awaitable[float]]:
    """Milliseconds until the first delta of a streamed, uncached ask over gRPC."""

    async def ask(index: int) -> float:
        started = time.perf_counter()
        first = 0.0
        async for event in client.stream(questions[index], collection=COLLECTION, cache="bypass"):
            if not first and isinstance(event, Delta):
                first = (time.perf_counter() - started) * 1e3
        return first

    return ask


def retrieve(client: AsyncClient, questions: Sequence[str], legs: str) -> Callable[[int], Awaitable[None]]:
    """One Retrieve; the legs one by one show where the time goes."""

    async def search(index: int) -> None:
        await client.search(questions[index], collection=COLLECTION, legs=legs)

    return search
