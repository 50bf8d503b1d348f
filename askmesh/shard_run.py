"""Runs one shard of a bulk ingest: manifest in, report out, until every entry is done.

Rule 1: what fails for a reason that passes (a server that restarts, sheds load or loses a store; an object store that
        throttles or is away) is tried again from the first document that is not done; what is wrong with a document is
        that document's failure.
Rule 2: memory is bounded by constants: READ_AHEAD small files are held, large ones are read in parts, and of what was
        done there is one number.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from askmesh.client import AsyncClient
from askmesh.documents import WHOLE_BYTES, DocumentFile, IngestResult
from askmesh.manifest import Entry, Shard, read_manifest
from askmesh.places import Place, is_url
from askmesh.shard_report import ShardReport, following, write_report
from chassis.errors import (
    BackendUnavailable,
    Cancelled,
    CollectionNotFound,
    Conflict,
    DeadlineExceeded,
    DocumentUnreadable,
    InvalidRequest,
    Overloaded,
    RagError,
    ShuttingDown,
)

READ_AHEAD = 8  # as many as the server works on at once; up to WHOLE_BYTES each
SAVE_S = 5.0  # between two writings of the report: what a killed shard may have to send again
MAX_ATTEMPTS = 8  # in a row without one document done: some two minutes
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
# Of a document's result. A deadline is not among them: what takes too long for itself must not hold up the shard.
PASSING = (BackendUnavailable, Cancelled, Conflict, Overloaded, ShuttingDown)
# Of the stream. A file that broke off half-way has ended it; on an object store that passes.
ENDING = (*PASSING, DeadlineExceeded, DocumentUnreadable)
ITS_OWN = (FileNotFoundError, PermissionError, IsADirectoryError)  # an object's own fault, not its store's


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What a shard is to do.

    Attributes:
        report_place: Where its report is written.
        template: What every document has besides its id and content.
    """

    manifest: str
    shard: Shard
    report_place: str
    template: DocumentFile


class _NotYet(Exception):
    """A document failed for a reason that passes."""

    def __init__(self, error: RagError) -> None:
        super().__init__(error.reason)
        self.error = error


class ShardRun:
    """One start of a shard.

    Args:
        job: What to do.
        report: How far earlier starts came; changed while it runs.
        told: Called after every document.
        sleep, clock: For pauses between attempts, and to tell how long it took.
    """

    def __init__(
        self,
        job: ShardJob,
        report: ShardReport,
        *,
        told: Callable[[Entry, IngestResult], None] = lambda _entry, _result: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._report = report
        self._told = told
        self._sleep = sleep
        self._clock = clock
        self._began = clock() - report.seconds
        self._saved = clock() - SAVE_S  # the first document done is written down at once

    async def run(self, client: AsyncClient) -> ShardReport:
        """Go on until every entry is done.

        Raises:
            RagError: of a reason that did not pass, or refuses everything (credentials, a manifest that is none).
        """
        await asyncio.to_thread(self._check_start)
        self._report.starts += 1
        attempts = 0
        while not self._report.is_complete:
            before = self._report.position
            try:
                await self._settle(client)
                await self._stream(client)
                self._report.is_complete = True
            except (_NotYet, *ENDING) as exc:
                error = exc.error if isinstance(exc, _NotYet) else exc
                attempts = attempts + 1 if self._report.position == before else 1
                if attempts > MAX_ATTEMPTS:
                    await self._save()
                    raise error from None
                await self._sleep(_pause_s(error, attempts))
        await self._save()
        return self._report

    async def _settle(self, client: AsyncClient) -> None:
        """Begin again when the collection is not the one that has what was done."""
        uid = await self._uid(client)
        if self._report.position and uid != self._report.collection_uid:
            self._begin_again()
        self._report.collection_uid = uid

    async def _uid(self, client: AsyncClient) -> str:
        try:
            return (await client.collection(self._report.collection)).uid
        except CollectionNotFound:
            return ""

    async def _stream(self, client: AsyncClient) -> None:
        """One ingest stream over what is not done yet."""
        sent: deque[Entry] = deque()
        async with contextlib.aclosing(client.ingest(self._documents(sent))) as results:
            async for result in results:
                if isinstance(result.error, PASSING):
                    raise _NotYet(result.error)
                if not self._report.collection_uid and result.error is None:
                    self._report.collection_uid = await self._uid(client)  # this document has made it
                entry = sent.popleft()
                self._report.took(entry, result)
                self._told(entry, result)
                if self._clock() - self._saved >= SAVE_S:
                    with contextlib.suppress(InvalidRequest):  # what cannot be written now is written later, or at last
                        await self._save()

    async def _documents(self, sent: deque[Entry]) -> AsyncIterator[DocumentFile]:
        """The documents that are not done, small ones read ahead."""
        reading: deque[tuple[Entry, asyncio.Task[DocumentFile]]] = deque()
        entries = itertools.islice(read_manifest(self._job.manifest, self._job.shard), self._report.position, None)
        try:
            while True:
                while len(reading) < READ_AHEAD and (entry := await asyncio.to_thread(next, entries, None)) is not None:
                    reading.append((entry, asyncio.create_task(asyncio.to_thread(self._document, entry))))
                if not reading:
                    return
                entry, task = reading.popleft()
                document = await task
                sent.append(entry)
                yield document
        finally:
            await _ended([task for _, task in reading])

    def _document(self, entry: Entry) -> DocumentFile:
        """The document as it is sent; a file that cannot be read fails when its turn comes, alone.

        Raises:
            BackendUnavailable: its object store is away, which passes.
        """
        place = Place(entry.place)
        document = replace(self._job.template, document_id=entry.document_id, data=place, uri=_uri(entry))
        is_small = entry.size_bytes <= WHOLE_BYTES
        try:
            content = place.first(WHOLE_BYTES + 1 if is_small else 0)
        except OSError as exc:
            if is_url(place.name) and not isinstance(exc, ITS_OWN):
                raise BackendUnavailable("the object store does not answer: try again") from exc
            return document
        return replace(document, data=content) if is_small and len(content) <= WHOLE_BYTES else document

    def _check_start(self) -> None:
        """Begin again when the entries that are said to be done are not the manifest's first ones."""
        entries = read_manifest(self._job.manifest, self._job.shard)
        digest, count = ShardReport("", "", "").digest, 0
        for entry in itertools.islice(entries, self._report.position):
            digest, count = following(digest, entry), count + 1
        if (digest, count) != (self._report.digest, self._report.position):
            self._begin_again()

    def _begin_again(self) -> None:
        self._report.begin_again()
        self._began = self._clock()

    async def _save(self) -> None:
        self._saved = self._clock()
        self._report.timed(self._clock() - self._began)
        await asyncio.to_thread(write_report, self._job.report_place, self._report)


def total(manifest: str, shard: Shard) -> int:
    """How many documents a shard has; every line of the manifest is looked at."""
    return sum(1 for _ in read_manifest(manifest, shard))


def _uri(entry: Entry) -> str:
    """Where people find it: a path of this machine tells them nothing."""
    return entry.place if is_url(entry.place) else entry.document_id


def _pause_s(error: RagError, attempt: int) -> float:
    return max(error.retry_after_s or 0.0, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1)))


async def _ended(tasks: list[asyncio.Task[DocumentFile]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
