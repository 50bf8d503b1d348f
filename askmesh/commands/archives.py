"""askmesh collections export and import: archives out of and into a running installation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import IO

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from askmesh.commands.options import Connection, connection
from askmesh.documents import Collection
from askmesh.output import console, errors, print_json
from askmesh.places import open_read, open_write
from chassis.errors import InternalError

PIECE_BYTES = 512 << 10  # a message; the contract allows twice as much


@click.command("export")
@click.argument("name")
@click.argument("file")
@connection
def export_command(*, name: str, file: str, connection: Connection) -> None:
    """Write the collection NAME as it is now to FILE, a path or URL (s3://, gs://); .gz is packed.

    FILE is there once it is whole. Needs the role "operator": an archive holds every document whatever its groups.
    """
    sums = {"documents": 0, "bytes": 0}

    async def run(target: IO[bytes], progress: Progress) -> None:
        task = progress.add_task("export", total=None)
        async with connection.client() as client, aclosing(client.export_collection(name)) as parts:
            async for part in parts:
                await asyncio.to_thread(target.write, part.data)
                sums["documents"], sums["bytes"] = part.document_count, sums["bytes"] + len(part.data)
                progress.update(task, completed=part.document_count, total=part.document_total)

    with open_write(file) as target, _bar("Exporting") as progress:
        asyncio.run(run(target, progress))
    if connection.is_json:
        print_json({"collection": name, "file": file, **sums})
    else:
        console.print(f"{sums['documents']} documents, {sums['bytes'] / 1e6:.1f} MB unpacked: {file}", markup=False)


@click.command("import")
@click.argument("file")
@click.option("--as", "name", required=True, help="The collection's name.")
@click.option(
    "--replace", is_flag=True, help="Take the place of a collection that exists, at once and when all is stored."
)
@click.option("--reembed", is_flag=True, help="Compute the vectors anew, with the server's embedder.")
@connection
def import_command(*, file: str, name: str, replace: bool, reembed: bool, connection: Connection) -> None:
    """Make a collection from the archive FILE, a path or URL. All of it becomes visible at once, or nothing.

    Needs the role "operator".
    """

    async def run(source: IO[bytes], progress: Progress) -> Collection:
        task = progress.add_task("import", total=None)
        async with connection.client() as client:
            made: Collection | None = None
            results = client.import_collection(name, _pieces(source), replace=replace, reembed=reembed)
            async for result in results:  # to its very end: a stream that is left is called off
                if isinstance(result, Collection):
                    made = result
                else:
                    progress.update(task, completed=result.document_count, total=result.document_total or None)
        if made is None:
            raise InternalError("the import ended without a result: look whether the collection is there")
        return made

    with open_read(file) as source, _bar("Importing") as progress:
        made = asyncio.run(run(source, progress))
    if connection.is_json:
        print_json(made)
    else:
        console.print(
            f"{made.collection}: {made.document_count} documents, {made.chunk_count} chunks, "
            f"generation {made.generation}",
            markup=False,
        )


def _bar(what: str) -> Progress:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(PIECE_BYTES):
        yield piece
