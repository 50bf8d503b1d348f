"""askmesh collections verify, reindex, rollback, cancel and migrate: an operator's work, with its progress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click
from rag.retriever.v1 import maintenance_pb2 as pb
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from askmesh import exits
from askmesh.commands.options import Connection, connection
from askmesh.operator import OperatorClient, Watch
from askmesh.output import console, errors, plain, print_json, table
from chassis.errors import InvalidRequest

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_KEEP: Final = re.compile(r"(\d+)([smhd])")


@click.command()
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every collection of your tenant, and the stores as a whole.")
@click.option("--repair", is_flag=True, help="Repair what can be repaired.")
@connection
def verify(*, name: str | None, is_all: bool, repair: bool, connection: Connection) -> None:
    """Compare the collection NAME with its stores while it is used. Exit code 10: faults that are not repaired."""
    if bool(name) == is_all:
        raise click.UsageError("name a collection, or use --all")

    async def run() -> tuple[list[pb.CollectionReport], pb.VerifyStoresResponse | None]:
        async with _client(connection) as client:
            names = [name] if name else await _names(connection)
            reports = []
            for each in names:
                with _watching(connection, f"Verifying {each}") as watch:
                    reports.append(await client.verify(each, repair=repair, watch=watch))
            return reports, await client.verify_stores(repair=repair) if is_all else None

    reports, stores = asyncio.run(run())
    if connection.is_json:
        print_json({"collections": reports, **({"stores": stores} if stores is not None else {})})
    else:
        _print_reports(reports, stores)
    found: list[pb.CollectionReport | pb.VerifyStoresResponse] = [*reports, *([stores] if stores is not None else [])]
    if any(each.finding_count > each.repaired_count for each in found):
        raise click.exceptions.Exit(exits.UNSOUND)


@click.command()
@click.argument("name")
@click.option(
    "--embedder",
    default="",
    help="onnx-int8, onnx-fp32, triton, none (words only); default: the embedder of the retriever that is asked.",
)
@click.option("--keep", default="7d", show_default=True, help="How long a rollback stays possible: 12h, 7d, or none.")
@connection
def reindex(*, name: str, embedder: str, keep: str, connection: Connection) -> None:
    """Rebuild the collection NAME beside itself and put the result in its place; reads and writes go on."""
    keep_s = _seconds(keep)

    async def run() -> pb.ReindexReport:
        async with _client(connection) as client:
            with _watching(connection, f"Rebuilding {name}") as watch:
                return await client.reindex(name, embedder=embedder, keep_s=keep_s, watch=watch)

    _print_rebuilt(name, asyncio.run(run()), connection, "rebuilt")


@click.command()
@click.argument("name")
@connection
def rollback(*, name: str, connection: Connection) -> None:
    """Put back what the last reindex of the collection NAME replaced, with what was written since."""

    async def run() -> pb.ReindexReport:
        async with _client(connection) as client:
            with _watching(connection, f"Rolling back {name}") as watch:
                return await client.roll_back(name, watch=watch)

    _print_rebuilt(name, asyncio.run(run()), connection, "rolled back")


@click.command()
@click.argument("name")
@connection
def cancel(*, name: str, connection: Connection) -> None:
    """Give up an unfinished reindex of the collection NAME and remove what it built."""

    async def run() -> bool:
        async with _client(connection) as client:
            return await client.cancel_reindex(name)

    was_building = asyncio.run(run())
    if connection.is_json:
        print_json({"collection": name, "was_building": was_building})
    else:
        what = "Removed the unfinished reindex of" if was_building else "There is no unfinished reindex of"
        console.print(f"{what} {name}.", markup=False)


@click.command()
@connection
def migrate(*, connection: Connection) -> None:
    """Bring the stores of a retriever that waits for it to the current layout."""

    async def run() -> pb.MigrationReport:
        async with _client(connection) as client:
            with _watching(connection, "Migrating") as watch:
                return await client.migrate(watch=watch)

    report = asyncio.run(run())
    if connection.is_json:
        print_json(report)
    else:
        console.print(f"{report.migrated_count} migrated, {report.current_count} were in the current layout already.")


COMMANDS: Final = (verify, reindex, rollback, cancel, migrate)


def _client(connection: Connection) -> OperatorClient:
    return OperatorClient(connection.target, token=connection.token)


async def _names(connection: Connection) -> list[str]:
    async with connection.client() as client:
        return [each.collection async for each in client.collections()]


def _seconds(keep: str) -> int:
    if keep == "none":
        return -1
    found = _KEEP.fullmatch(keep)
    if found is None or not int(found[1]):
        raise InvalidRequest.field("keep", "write a time such as 12h or 7d, or none")
    return int(found[1]) * _UNITS[found[2]]


@contextmanager
def _watching(connection: Connection, what: str) -> Iterator[Watch]:
    """A line on standard error that moves, on a terminal."""
    columns = (SpinnerColumn(), TextColumn(escape(what)), TextColumn("{task.description}"), BarColumn())
    with Progress(
        *columns,
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=connection.is_json,
    ) as progress:
        task = progress.add_task("", total=None)

        def watch(step: pb.UpkeepProgress) -> None:
            progress.update(task, description=escape(step.stage), completed=step.done, total=step.total or None)

        yield watch


def _print_reports(reports: Sequence[pb.CollectionReport], stores: pb.VerifyStoresResponse | None) -> None:
    rows = [
        (
            each.collection,
            each.generation,
            each.document_count,
            each.chunk_count,
            f"{each.dense_chunk_count} / {each.lexical_chunk_count}",
            f"{each.dead_version_count} / {each.open_transaction_count} / {each.aborted_chunk_count}",
            _verdict(each.finding_count, each.repaired_count),
        )
        for each in reports
    ]
    columns = ("name", "generation", "documents", "chunks", "dense / lexical", "dead / open / aborted", "faults")
    console.print(table(f"{len(rows)} collections", columns, rows))
    for each in reports:
        _print_findings(each.collection, each.findings)
    if stores is not None:
        console.print(f"Stores: {_verdict(stores.finding_count, stores.repaired_count)}", markup=False)
        _print_findings("stores", stores.findings)


def _verdict(found: int, repaired: int) -> str:
    if not found:
        return "none"
    return f"{found}, {repaired} repaired" if repaired else str(found)


def _print_findings(place: str, findings: Sequence[pb.UpkeepFinding]) -> None:
    if not findings:
        return
    rows = [
        (
            pb.UpkeepFindingKind.Name(each.kind).removeprefix("UPKEEP_FINDING_KIND_").lower().replace("_", " "),
            each.store,
            each.document_id or each.subject or (f"version {each.version}" if each.version else "-"),
            each.count,
            "repaired" if each.is_repaired else each.obstacle or "-",
        )
        for each in findings
    ]
    console.print(table(f"Faults of {place}", ("what", "where", "of", "how many", "repair"), rows))


def _print_rebuilt(name: str, report: pb.ReindexReport, connection: Connection, done: str) -> None:
    if connection.is_json:
        print_json({"collection": name, **_fields(report)})
        return
    console.print(
        f"{name} {done}: {report.document_count} documents, {report.chunk_count} chunks, generation"
        f" {report.generation}, embedder {report.embedder_fingerprint or 'none'}.",
        markup=False,
    )


def _fields(report: pb.ReindexReport) -> dict[str, object]:
    shown = plain(report)
    assert isinstance(shown, dict)
    return shown
