"""Processes that rebuild a collection and may be killed: the modes "fill" and "reindex" of tests.faults.ingesting."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from retriever.ingest.commit import Committer, Stores
from retriever.ingest.purge import Janitor
from retriever.search.embedded import EmbeddedStore, open_embedded
from retriever.upkeep.ports import UpkeepStores
from retriever.upkeep.reindexing import Reindexer
from tests.contract.search.samples import TENANT, budget, prepared
from tests.contract.search.upkeeping import last_of, recipe

COLLECTION: Final = "rebuilt"
DOCUMENTS: Final = 40


def upkeep_of(store: EmbeddedStore) -> UpkeepStores:
    return UpkeepStores(
        heads=store.heads,
        survey=store.heads,
        records=store.records,
        leases=store.leases,
        lexical=store.lexical,
        dense_for=lambda _fingerprint, _dim: store.dense,
        holdings={"embedded": store.holdings},
    )


def reindexer_of(store: EmbeddedStore) -> Reindexer:
    """Patient with nobody: the folder's lock says that whoever held the lease is dead."""
    clock = _Impatient()
    owner = f"process {os.getpid()}"
    return Reindexer(
        upkeep_of(store), recipe, owner=owner, now=lambda: datetime.now(UTC), clock=clock, sleep=clock.sleep
    )


class _Impatient:
    """A clock that a sleeper sets forward."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        self._now_s += seconds
        await asyncio.sleep(0)


async def reindexing(folder: Path) -> None:
    """Fill the collection once; then rebuild it again and again, a writer beside it."""
    async with open_embedded(folder) as store:
        stores = Stores(store.heads, store.records, store.dense, store.lexical)
        owner = f"process {os.getpid()}"
        janitor = Janitor(stores, survey=store.heads, leases=store.leases, owner=owner, grace_s=0.0)
        await janitor.recover(budget=budget())
        async with janitor.running(), Committer(stores, owner=owner) as committer:
            await asyncio.gather(*(_put(committer, number, "first") for number in range(DOCUMENTS)))
            _say("filled")
            turn = 0
            while True:
                turn += 1
                writing = asyncio.create_task(_write(committer, turn))
                run = reindexer_of(store).reindex(TENANT, COLLECTION, recipe(), keep=timedelta(0), budget=budget(120))
                report = await last_of(run)
                await writing
                _say(f"flipped {report.generation}")


async def _write(committer: Committer, turn: int) -> None:
    for number in range(0, DOCUMENTS, 8):
        await _put(committer, number, f"turn{turn}")
        _say(f"ack d{number} turn{turn}")


async def _put(committer: Committer, number: int, wording: str) -> None:
    document = prepared(f"d{number}", [f"word document{number} {wording}"], seed=number)
    await committer.put(TENANT, COLLECTION, document, budget=budget(60))


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())
