"""askmesh ingest: files and folders in, one result per document."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from askmesh import exits
from askmesh.client import AsyncClient
from askmesh.commands.options import Connection, connection
from askmesh.documents import DocumentFile, IngestResult, files_below
from askmesh.filters import Scalar, parse_value
from askmesh.output import errors, plain, print_json
from chassis.errors import InvalidRequest


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@connection
@click.option("--source", default="", help="Where the documents come from; default: the folder's name.")
@click.option("--group", "-g", "groups", multiple=True, help="A group that may read them; default: everybody.")
@click.option("--metadata", "-m", multiple=True, help="name=value for every document, repeatable.")
@click.option("--prefix", default="", help="Put before every document id.")
def command(
    *,
    paths: tuple[Path, ...],
    connection: Connection,
    source: str,
    groups: tuple[str, ...],
    metadata: tuple[str, ...],
    prefix: str,
) -> None:
    """Store every document in PATHS (files or folders). Unchanged documents cost nothing; a bad one fails alone."""
    fields = dict(_pair(text) for text in metadata)
    files = [
        DocumentFile(
            document_id=prefix + file.document_id,
            data=file.data,
            uri=file.uri,
            source=source or file.source,
            metadata=fields,
            groups=groups,
        )
        for path in paths
        for file in files_below(path)
    ]
    if not files:
        raise InvalidRequest("no document found: md, txt, html, pdf, docx, pptx, xlsx, csv and json are taken")

    async def run() -> list[IngestResult]:
        async with connection.client() as client:
            return await ingest_with_progress(client, files)

    results = asyncio.run(run())
    if connection.is_json:
        print_json([_result(result) for result in results])
    if any(result.outcome == "FAILED" for result in results):
        raise click.exceptions.Exit(exits.PARTLY)


async def ingest_with_progress(
    client: AsyncClient, files: list[DocumentFile], *, is_quiet: bool = False
) -> list[IngestResult]:
    """Ingest with a progress bar on standard error; each failure is printed when it happens, the sum at the end.

    With `is_quiet` only failures are printed.
    """
    results: list[IngestResult] = []
    with Progress(
        TextColumn("Ingesting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[current]}"),
        console=errors,
        transient=True,
        disable=is_quiet,
    ) as progress:
        task = progress.add_task("ingest", total=len(files), current="")
        async for result in client.ingest(files):
            results.append(result)
            progress.update(task, advance=1, current=escape(result.document_id[-40:]))
            if result.error is not None:
                progress.console.print(
                    f"[red]{escape(result.document_id)}[/red]: {escape(result.error.reason)}: "
                    f"{escape(result.error.message)}"
                )
    if not is_quiet:
        _print_sums(results)
    return results


def _print_sums(results: list[IngestResult]) -> None:
    counts = Counter(result.outcome.lower() for result in results)
    chunks = sum(result.chunk_count for result in results)
    sums = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    errors.print(f"{len(results)} documents: {sums}; {chunks} chunks.")


def _pair(text: str) -> tuple[str, Scalar]:
    name, found, value = text.partition("=")
    if not found or not name.strip():
        raise InvalidRequest.field("metadata", "write name=value")
    return name.strip(), parse_value(value)


def _result(result: IngestResult) -> dict[str, object]:
    shown = {
        "document_id": result.document_id,
        "outcome": result.outcome,
        "generation": result.generation,
        "chunk_count": result.chunk_count,
    }
    if result.error is not None:
        shown["error"] = {"reason": result.error.reason, "message": result.error.message}
    return {name: plain(value) for name, value in shown.items()}
