"""Processes that ingest and may be killed: `python -m tests.faults.ingesting`.

Reads one command a line: "MODE FOLDER", starts a child for it by fork, so that a round costs milliseconds and not an
interpreter's start. Writes lines to standard output: "pid N" first; the child's own lines; "exit N" when it has ended.
Modes: "ingest" stores the corpus and says "ack DOCUMENT WORD" after each acknowledgement; "full" does so with a limit
on the size of files and says "full DOCUMENT" when refused; "hold" opens the folder, says "open" and waits; "reindex"
rebuilds a collection again and again (tests/faults/reindexing.py).
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path
from typing import Final

from chassis.errors import StorageFull
from retriever.ingest.commit import Committer, PreparedDocument, Stores
from retriever.ingest.purge import Janitor
from retriever.search.embedded import EmbeddedStore, open_embedded
from tests.contract.search.samples import TENANT, budget, prepared
from tests.faults.reindexing import reindexing

COLLECTION: Final = "corpus"
DOCUMENTS: Final = 300
AT_ONCE: Final = 6  # so that commits are shared, as in a real ingest
FILE_LIMIT_BYTES: Final = 3_000_000  # reached after some tens of documents


def texts_of(number: int, wording: str) -> list[str]:
    """The chunks of one document: one to three, told apart by number, wording and position."""
    return [f"word document{number} {wording} part{at}" for at in range(1 + number % 3)]


def wordings_of(number: int) -> list[str]:
    """What a document says over time: every fifth is replaced once."""
    return ["draft", "final"] if number % 5 == 0 else ["final"]


def document(number: int, wording: str) -> PreparedDocument:
    return prepared(f"d{number}", texts_of(number, wording), seed=number)


def say(line: str) -> None:
    """One unbuffered write: a pipe keeps it whole, and it is out before the next instruction."""
    os.write(1, f"{line}\n".encode())


async def _ingest(folder: Path, *, large: bool = False) -> None:
    async with open_embedded(folder) as store:
        stores = Stores(store.heads, store.records, store.dense, store.lexical)
        owner = f"process {os.getpid()}"
        janitor = Janitor(stores, survey=store.heads, leases=store.leases, owner=owner, grace_s=0.0)
        await janitor.recover(budget=budget())
        places = asyncio.Semaphore(AT_ONCE)
        async with janitor.running(), Committer(stores, owner=owner) as committer, asyncio.TaskGroup() as group:
            for number in await _missing(store):
                await places.acquire()
                task = group.create_task(_put(committer, number, large=large))
                task.add_done_callback(lambda _: places.release())


async def _missing(store: EmbeddedStore) -> list[int]:
    """Documents that are not stored in their last wording: one that is must not go back to its draft."""
    head = await store.heads.get(TENANT, COLLECTION, budget=budget())
    if head is None:
        return list(range(DOCUMENTS))
    ids = [f"d{number}" for number in range(DOCUMENTS)]
    stored = await store.records.visible(TENANT, head.snapshot, ids, budget=budget())
    finals = {name for name, each in stored.items() if " final " in each.content_hash}
    return [number for number in range(DOCUMENTS) if f"d{number}" not in finals]


async def _put(committer: Committer, number: int, *, large: bool) -> None:
    for wording in wordings_of(number):
        wanted = document(number, wording)
        if large:
            wanted = prepared(f"d{number}", [f"{text} {'filler ' * 500}" for text in texts_of(number, wording)])
        try:
            await committer.put(TENANT, COLLECTION, wanted, budget=budget())
        except StorageFull:
            say(f"full d{number}")
            return
        say(f"ack d{number} {wording}")


async def _hold(folder: Path) -> None:
    async with open_embedded(folder) as store:
        assert isinstance(store, EmbeddedStore)
        say("open")
        await asyncio.Event().wait()


def _child(mode: str, folder: Path) -> None:
    match mode:
        case "ingest":
            asyncio.run(_ingest(folder))
        case "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))
            asyncio.run(_ingest(folder, large=True))
        case "hold":
            asyncio.run(_hold(folder))
        case "reindex":
            asyncio.run(reindexing(folder))


def main() -> None:
    for line in sys.stdin:
        mode, folder = line.split(maxsplit=1)
        pid = os.fork()
        if pid == 0:
            try:
                _child(mode, Path(folder.strip()))
            finally:
                os._exit(0)
        say(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        say(f"exit {status}")


if __name__ == "__main__":
    main()
