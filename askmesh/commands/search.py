"""askmesh search: the passages for a query, with what each leg said."""

from __future__ import annotations

import asyncio

import click
from rag.retriever.v1 import retriever_pb2 as pb
from rich.markup import escape

from askmesh.client import Passage
from askmesh.commands.options import Connection, all_of, connection, filters
from askmesh.output import console, place_of, print_json


@click.command()
@click.argument("query")
@connection
@filters
@click.option("--top-k", default=0, help="How many passages, 1 to 100; 0 means 5.")
@click.option(
    "--legs",
    type=click.Choice(["hybrid", "dense", "lexical"]),
    default="hybrid",
    show_default=True,
)
def command(
    *,
    query: str,
    connection: Connection,
    conditions: tuple[str, ...],
    top_k: int,
    legs: str,
) -> None:
    """Find the passages for QUERY, best first."""
    condition = all_of(conditions)

    async def run() -> pb.RetrieveResponse:
        async with connection.client() as client:
            return await client.search(query, top_k=top_k, filter=condition, legs=legs)

    reply = asyncio.run(run())
    if connection.is_json:
        print_json(reply)
        return
    for rank, passage in enumerate(reply.passages, start=1):
        _print_passage(rank, passage)
    for item in reply.degraded:
        console.print(f"[yellow]Degraded: {escape(item.effect)}[/yellow]")
    stages = ", ".join(f"{timing.stage} {timing.milliseconds:.1f} ms" for timing in reply.timings)
    console.print(f"[dim]{len(reply.passages)} passages · generation {reply.snapshot.generation} · {stages}[/dim]")


def _print_passage(rank: int, passage: Passage) -> None:
    place = place_of(passage.title, passage.section, passage.page)
    console.print(
        f"[bold]{rank}. {escape(passage.document_id)}[/bold] {escape(place)}"
        f" [dim]{passage.score:.3f} · {_leg('dense', passage, passage.HasField('dense'))}"
        f" · {_leg('lexical', passage, passage.HasField('lexical'))}"
        f"{' · ' + _leg('rerank', passage, True) if passage.HasField('rerank') else ''}[/dim]"
    )
    console.print(f"   {escape(' '.join(passage.text.split())[:320])}")


def _leg(name: str, passage: Passage, is_there: bool) -> str:
    if not is_there:
        return f"{name} -"
    leg: pb.LegScore = getattr(passage, name)
    return f"{name} #{leg.rank} ({leg.score:.2f})"
