"""askmesh up: everything in one process, the demo corpus in it, and a first cited answer."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import click
from rich.markup import escape

from askmesh import profiles
from askmesh.answers import Answer
from askmesh.client import AsyncClient
from askmesh.commands.ask import print_stream
from askmesh.commands.demo import ingest_demo
from askmesh.local_settings import LocalSettings
from askmesh.output import console, errors, print_figures
from chassis import logs
from chassis.errors import BackendUnavailable
from chassis.lifecycle import stop_signals
from chassis.settings import load

FIRST_QUESTION = "What is never cached?"
WARM_UPS = 20  # an engine that just started runs its first searches ten times slower, longer than their timebox


@click.command()
@click.option("--once", is_flag=True, help="Ask the first question, print the answer and stop.")
@click.option(
    "--profile",
    type=click.Choice([profiles.CLUSTER]),
    help="Use the servers of `askmesh rig up`, or those the ASKMESH_* variables name, instead of the embedded leaves.",
)
@click.option("--data", "data_folder", type=click.Path(path_type=Path), help="Data folder of the embedded store.")
@click.option("--http-port", type=int, help="Port of the page and REST; 0 takes a free one.")
@click.option("--grpc-port", type=int, help="Port of gRPC; 0 takes a free one.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Ingest askmesh's own documents and ask.")
@click.option("--question", default=FIRST_QUESTION, help="The first question.")
def command(
    *,
    once: bool,
    profile: str | None,
    data_folder: Path | None,
    http_port: int | None,
    grpc_port: int | None,
    demo: bool,
    question: str,
) -> None:
    """Start the page, REST and gRPC in this process, with an embedded store; Ctrl-C stops it."""
    import uvloop

    if profile:
        profiles.use_cluster()
    given = {"data_folder": data_folder, "http_port": http_port, "grpc_port": grpc_port}
    settings = load(LocalSettings, **{name: value for name, value in given.items() if value is not None})
    logs.configure("askmesh", level=settings.log_level, format=settings.log_format)
    uvloop.run(_up(settings, question=question if demo else "", once=once, is_cluster=bool(profile)))


async def _up(settings: LocalSettings, *, question: str, once: bool, is_cluster: bool) -> None:
    from askmesh.local import running  # here: `askmesh up --help` need not load the servers

    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        local = await stack.enter_async_context(running(settings))
        console.print(f"askmesh is up after {time.perf_counter() - started:.1f} s", markup=False)
        engines = {each.name: each.where for each in profiles.ENGINES} if is_cluster else {}
        leaves = engines or {"data": str(settings.data_folder)}
        for name, place in {"page and REST": local.url, "gRPC": local.grpc_address, **leaves}.items():
            console.print(f"  {name:<13}  {place}", markup=False)
        if not local.embedder_fingerprint:
            errors.print("[yellow]No embedding model: search is lexical only. See `askmesh doctor`.[/yellow]")
        if question:
            async with AsyncClient(local.grpc_address, collection=local.collection) as client:
                if await ingest_demo(client) or question != FIRST_QUESTION:
                    await (_show_cluster if is_cluster else _show)(client, question)
        if not once:
            console.print("\nCtrl-C stops it.", markup=False)
            await stop.wait()


async def _show(client: AsyncClient, question: str, *, cache: str = "default") -> Answer:
    console.print(f"\n[bold]{escape(question)}[/bold]\n")
    return await print_stream(client, question, cache=cache)


async def _warm_up(client: AsyncClient, question: str) -> None:
    """Search until no leg is late, or give up: the answer will say what is missing."""
    for _ in range(WARM_UPS):
        with suppress(BackendUnavailable):
            if not (await client.search(question)).degraded:
                return


async def _show_cluster(client: AsyncClient, question: str) -> None:
    """Ask the model, whatever an earlier run left in the cache; say which engine found what; ask again."""
    await _warm_up(client, question)
    answer = await _show(client, question, cache="refresh")
    by_weaviate = [source.marker for source in answer.sources if source.dense_rank]
    by_opensearch = [source.marker for source in answer.sources if source.lexical_rank]
    for engine, markers in (("Weaviate", by_weaviate), ("OpenSearch", by_opensearch)):
        console.print(f"{engine} found {' '.join(f'[{each}]' for each in markers) or 'nothing'}", markup=False)
    console.print("\n[bold]The same question again[/bold]", end="")
    again = await client.ask(question)
    print_figures(again.started, again.completed)
