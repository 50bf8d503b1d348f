"""askmesh ask: a question in, a streamed, cited answer out."""

from __future__ import annotations

import asyncio
import sys

import click
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from askmesh import exits
from askmesh.answers import Answer, Cited, Completed, Delta, Event, Retrieved, Started
from askmesh.client import AsyncClient
from askmesh.commands.options import Connection, all_of, connection, filters
from askmesh.filters import Condition
from askmesh.output import console, print_answer, print_citations, print_figures, print_json


@click.command()
@click.argument("question")
@connection
@filters
@click.option("--top-k", default=0, help="Passages to answer from, 1 to 100; 0 means 5.")
@click.option(
    "--cache",
    type=click.Choice(["default", "bypass", "refresh"]),
    default="default",
    show_default=True,
)
@click.option(
    "--max-tokens",
    type=click.IntRange(0, 4_096),
    default=0,
    help="Most tokens to generate; 0 means the server's default.",
)
@click.option("--stream/--no-stream", default=True, show_default=True, help="Print text as it is made.")
def command(
    *,
    question: str,
    connection: Connection,
    conditions: tuple[str, ...],
    top_k: int,
    cache: str,
    max_tokens: int,
    stream: bool,
) -> None:
    """Ask QUESTION and print the cited answer. "-" reads the question from standard input."""
    text = sys.stdin.read() if question == "-" else question
    limits = pb.GenerationLimits(max_tokens=max_tokens)
    condition = all_of(conditions)

    async def run() -> Answer:
        async with connection.client() as client:
            if connection.is_json or not stream:
                return await client.ask(text, top_k=top_k, filter=condition, cache=cache, limits=limits)
            return await print_stream(client, text, top_k=top_k, condition=condition, cache=cache, limits=limits)

    answer = asyncio.run(run())
    if connection.is_json:
        print_json(answer)
    elif not stream:
        print_answer(answer)
    if answer.grounding == "NOT_FOUND":
        raise click.exceptions.Exit(exits.NOT_GROUNDED)


async def print_stream(
    client: AsyncClient,
    question: str,
    *,
    top_k: int = 0,
    condition: Condition | None = None,
    cache: str = "default",
    limits: pb.GenerationLimits | None = None,
) -> Answer:
    """Print the answer while it is made, then its citations and figures; returns the fold of the events."""
    events: list[Event] = []
    async for event in client.stream(question, top_k=top_k, filter=condition, cache=cache, limits=limits):
        events.append(event)
        if isinstance(event, Delta):
            console.print(event.text, end="", markup=False)
    console.print()
    answer = fold(events)
    print_citations(answer)
    print_figures(answer.started, answer.completed)
    return answer


def fold(events: list[Event]) -> Answer:
    """The answer that the events of one stream make; the stream has ended well, so first and last are there."""
    return Answer(
        text="".join(event.text for event in events if isinstance(event, Delta)),
        citations=tuple(event.citation for event in events if isinstance(event, Cited)),
        started=next(event for event in events if isinstance(event, Started)),
        retrieval=next(event for event in events if isinstance(event, Retrieved)),
        completed=next(event for event in events if isinstance(event, Completed)),
    )
