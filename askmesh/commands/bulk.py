"""Bulk ingestion: a manifest of what lies in a folder or an object store, and one shard of it stored."""

from __future__ import annotations

import asyncio
import time

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from askmesh import exits
from askmesh.commands.options import Connection
from askmesh.documents import TAKEN, DocumentFile, IngestResult
from askmesh.manifest import Entry, Shard, entries_below
from askmesh.output import errors, print_json
from askmesh.places import readable
from askmesh.shard_report import ShardReport, digest_of, place_of, read_report
from askmesh.shard_run import ShardJob, ShardRun, total
from chassis.errors import InvalidRequest

LINE_S = 10.0  # between two lines of progress where there is no terminal


@click.command("manifest")
@click.argument("root")
@click.option("--prefix", default="", help="Put before every document id.")
def manifest_command(*, root: str, prefix: str) -> None:
    """Print a manifest of every document below ROOT, a folder or a URL (s3://, gs://): one JSON line each."""
    count = size = 0
    with readable(root):
        for entry in entries_below(root):
            named = Entry(prefix + entry.document_id, entry.place, entry.size_bytes, entry.etag)
            click.echo(named.line)
            count, size = count + 1, size + entry.size_bytes
    if not count:
        raise InvalidRequest(f"no document found: {TAKEN} are taken")
    errors.print(f"{count} documents, {size / 1e6:.1f} MB.", markup=False)


def ingest_shard(
    connection: Connection, manifest: str, shard: Shard, *, report_folder: str, template: DocumentFile
) -> None:
    """Store one shard of a manifest and write its report; leaves with exits.PARTLY when documents failed."""
    place = place_of(report_folder, shard)
    count = total(manifest, shard)
    fresh = ShardReport(f"{shard.index}/{shard.count}", manifest, connection.collection, digest_of(template))
    report = read_report(place, fresh)
    with _Progress(shard, count, report) as progress:

        async def run() -> ShardReport:
            async with connection.client() as client:
                job = ShardJob(manifest, shard, place, template)
                return await ShardRun(job, report, told=progress.told).run(client)

        report = asyncio.run(run())
    if connection.is_json:
        print_json(report)
    if report.failed:
        raise click.exceptions.Exit(exits.PARTLY)


class _Progress:
    """A bar on a terminal, plain lines in a log; failures as they happen."""

    def __init__(self, shard: Shard, count: int, report: ShardReport) -> None:
        self._shard = shard
        self._count = count
        self._report = report
        self._bar = Progress(
            TextColumn(f"Shard {shard.index}/{shard.count}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
        self._documents = self._bar.add_task("documents", total=count, completed=report.position)
        self._began = self._said = time.monotonic()
        self._before = report.position

    def __enter__(self) -> _Progress:
        self._bar.start()
        if self._report.position:
            self._say(f"goes on after {self._report.position} of {self._count} documents")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._say(self._sums())

    def told(self, entry: Entry, result: IngestResult) -> None:
        if self._report.position <= self._before:
            self._before = 0
            self._say("begins again: the manifest or the collection is another one")
        self._bar.update(self._documents, completed=self._report.position)
        if result.error is not None:
            self._say(f"{entry.document_id}: {result.error.reason}: {result.error.message}")
        if not errors.is_terminal and time.monotonic() - self._said >= LINE_S:
            self._said = time.monotonic()
            self._say(self._sums())

    def _sums(self) -> str:
        done = self._report
        rate = (done.position - self._before) / max(1e-3, time.monotonic() - self._began)
        return (
            f"{done.position} of {self._count} documents: {done.stored} stored, {done.unchanged} unchanged, "
            f"{done.failed} failed; {done.bytes / 1e6:.1f} MB, {rate:.1f} documents/s"
        )

    def _say(self, text: str) -> None:
        errors.print(f"shard {self._shard.index}/{self._shard.count}: {escape(text)}")
