"""askmesh ingest: files and folders in, one result per document."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from askmesh import exits
from askmesh.client import AsyncClient
from askmesh.commands.bulk import ingest_shard, manifest_command
from askmesh.commands.options import Connection, connection
from askmesh.documents import TAKEN, DocumentFile, IngestResult, files_below, left_out_below
from askmesh.filters import Scalar, parse_value
from askmesh.manifest import Shard
from askmesh.output import errors, plain, print_json
from chassis.errors import InvalidRequest

MOST_KINDS = 6  # endings listed; a source tree has dozens


class _Ingest(click.Group):
    """`ingest PATHS` stores them, but for `ingest manifest ROOT`; a folder of that name is ./manifest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] != "manifest":
            args.insert(0, "files")
        return super().parse_args(ctx, args)


@click.group(cls=_Ingest)
def command() -> None:
    """Store documents; or make a manifest of them (ingest manifest)."""


command.add_command(manifest_command)


@command.command("files")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@connection
@click.option("--source", default="", help="Where the documents come from; default: the folder's name.")
@click.option("--group", "-g", "groups", multiple=True, help="A group that may read them; default: everybody.")
@click.option("--metadata", "-m", multiple=True, help="name=value for every document, repeatable.")
@click.option("--prefix", default="", help="Put before every document id.")
@click.option("--manifest", default="", help="Store what this manifest (a path or URL) lists, instead of PATHS.")
@click.option("--shard", default="0/1", show_default=True, help="With --manifest: I/N, or /N in an Indexed Job.")
@click.option("--report", default=".", show_default=True, help="With --manifest: folder or URL of the shards' reports.")
def files(
    *,
    paths: tuple[Path, ...],
    connection: Connection,
    source: str,
    groups: tuple[str, ...],
    metadata: tuple[str, ...],
    prefix: str,
    manifest: str,
    shard: str,
    report: str,
) -> None:
    """Store every document in PATHS (files or folders). Unchanged documents cost nothing; a bad one fails alone.

    More than one machine's worth: `askmesh ingest manifest ROOT > m.jsonl`, then one `askmesh ingest --manifest m.jsonl
    --shard I/N` each. A shard that was stopped goes on where it was when it is started again; one that was complete
    begins again: what failed is tried again, and what is stored already costs little.
    """
    if bool(paths) == bool(manifest):
        raise click.UsageError("name PATHS, or a --manifest")
    if manifest and prefix:
        raise click.UsageError("a manifest has its ids: give --prefix to `askmesh ingest manifest`")
    fields = dict(_pair(text) for text in metadata)
    if manifest:
        template = DocumentFile(document_id="", data=b"", source=source, metadata=fields, groups=groups)
        ingest_shard(
            connection,
            manifest,
            Shard.parse(shard, os.environ.get("JOB_COMPLETION_INDEX", "")),
            report_folder=report,
            template=template,
        )
        return
    _store(connection, paths, DocumentFile(prefix, b"", source=source, metadata=fields, groups=groups))


def _store(connection: Connection, paths: tuple[Path, ...], template: DocumentFile) -> None:
    """Store what lies below the paths; the template's id is the prefix of theirs."""
    files = [
        DocumentFile(
            document_id=template.document_id + file.document_id,
            data=file.data,
            uri=file.uri,
            source=template.source or file.source,
            metadata=template.metadata,
            groups=template.groups,
        )
        for path in paths
        for file in files_below(path)
    ]
    _print_left_out(sum(map(left_out_below, paths), Counter()))
    if not files:
        raise InvalidRequest(f"no document found: {TAKEN} are taken")
    _check_ids(files)

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
        TextColumn("{task.fields[current]}", markup=False),  # an id; a column's markup has emoji codes in it
        console=errors,
        transient=True,
        disable=is_quiet,
    ) as progress:
        task = progress.add_task("ingest", total=len(files), current="")
        async for result in client.ingest(files):
            results.append(result)
            progress.update(task, advance=1, current=result.document_id[-40:])
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


def _check_ids(files: list[DocumentFile]) -> None:
    """Files of two PATHS with one id would replace each other, and each be called stored."""
    ((first, count),) = Counter(file.document_id for file in files).most_common(1)
    if count > 1:
        raise InvalidRequest(f"{first} is in more than one of the PATHS: ingest them one by one, each with a --prefix")


def _print_left_out(endings: Counter[str]) -> None:
    """Say what was not even tried: whoever names a folder would take it for stored."""
    if endings:
        kinds = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(MOST_KINDS))
        more = ", ..." if len(endings) > MOST_KINDS else ""
        errors.print(f"Left out, being none of {TAKEN}: {escape(kinds)}{more}. Name a text file itself to store it.")


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
