"""askmesh up: everything in one process, the demo corpus in it, and a first cited answer."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import click
from rich.markup import escape

from askmesh.answers import Answer
from askmesh.client import AsyncClient
from askmesh.commands.ask import print_stream
from askmesh.commands.ingest import ingest_with_progress
from askmesh.documents import files_below
from askmesh.local_settings import LocalSettings
from askmesh.output import console, errors
from chassis import logs
from chassis.lifecycle import stop_signals
from chassis.settings import load

FIRST_QUESTION = "What is never cached?"


@click.command()
@click.option("--once", is_flag=True, help="Ask the first question, print the answer and stop.")
@click.option("--data", "data_folder", type=click.Path(path_type=Path), help="Data folder of the embedded store.")
@click.option("--http-port", type=int, help="Port of the page and REST; 0 takes a free one.")
@click.option("--grpc-port", type=int, help="Port of gRPC; 0 takes a free one.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Ingest askmesh's own documents and ask.")
@click.option("--question", default=FIRST_QUESTION, help="The first question.")
def command(
    *,
    once: bool,
    data_folder: Path | None,
    http_port: int | None,
    grpc_port: int | None,
    demo: bool,
    question: str,
) -> None:
    """Start the page, REST and gRPC in this process, with an embedded store; Ctrl-C stops it."""
    import uvloop

    given = {"data_folder": data_folder, "http_port": http_port, "grpc_port": grpc_port}
    settings = load(LocalSettings, **{name: value for name, value in given.items() if value is not None})
    logs.configure("askmesh", level=settings.log_level, format=settings.log_format)
    uvloop.run(_up(settings, question=question if demo else "", once=once))


async def _up(settings: LocalSettings, *, question: str, once: bool) -> None:
    from askmesh.local import running  # here: `askmesh up --help` need not load the servers

    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        local = await stack.enter_async_context(running(settings))
        console.print(f"askmesh is up after {time.perf_counter() - started:.1f} s", markup=False)
        console.print(f"  page and REST  {local.url}", markup=False)
        console.print(f"  gRPC           {local.grpc_address}", markup=False)
        console.print(f"  data           {settings.data_folder}", markup=False)
        if not local.embedder_fingerprint:
            errors.print("[yellow]No embedding model: search is lexical only. See `askmesh doctor`.[/yellow]")
        if question:
            async with AsyncClient(local.grpc_address, collection=local.collection) as client:
                await _demo(client, local.collection, question)
        if not once:
            console.print("\nCtrl-C stops it.", markup=False)
            await stop.wait()


async def _demo(client: AsyncClient, collection: str, question: str) -> Answer:
    await _ingest_demo(client, collection, _demo_folder())
    console.print(f"\n[bold]{escape(question)}[/bold]\n")
    return await print_stream(client, question)


def _demo_folder() -> Path:
    """askmesh's own documents: packaged with an installation, docs/ in a checkout."""
    packaged = Path(__file__).resolve().parents[1] / "demo"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "docs"


async def _ingest_demo(client: AsyncClient, collection: str, root: Path) -> None:
    # Pages that explain: neither why things are so (decisions/) nor tables to look things up in (reference/).
    files = [file for file in files_below(root) if "/" not in file.document_id]
    is_new = await _is_empty(client, collection)
    results = await ingest_with_progress(client, files, is_quiet=not is_new)
    counts = Counter(result.outcome for result in results)
    if not is_new and counts["STORED"]:
        errors.print(f"{counts['STORED']} documents of the demo were new or changed.")


async def _is_empty(client: AsyncClient, collection: str) -> bool:
    return collection not in [found.collection async for found in client.collections()]
