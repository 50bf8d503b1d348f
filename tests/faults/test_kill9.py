"""kill -9 at random points of an ingest: what was acknowledged is there, what was not committed is not."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

from retriever.ingest.commit import Stores
from retriever.ingest.purge import Janitor
from retriever.search.embedded import open_embedded
from tests.contract.search.samples import TENANT, budget, scope, texts_by_id, unit
from tests.faults.ingesting import COLLECTION, DOCUMENTS, texts_of, wordings_of

KILLS = 30
CORPUS = {f"d{number}": set(texts_of(number, "final")) for number in range(DOCUMENTS)}


async def _stored(folder, *, is_tidied=False):
    """What a restarted process shows: by leg and by catalogue; they must agree. Tidied: all the stores hold besides."""
    async with open_embedded(folder) as store:
        stores = Stores(store.heads, store.records, store.dense, store.lexical)
        janitor = Janitor(stores, survey=store.heads, leases=store.leases, owner="after", grace_s=0.0)
        await janitor.recover(budget=budget())
        if is_tidied:
            await janitor.tidy(budget=budget())
        head = await store.heads.get(TENANT, COLLECTION, budget=budget())
        if head is None:
            return {}
        assert head.open_numbers == {}
        snapshot = replace(head.snapshot, excluded=(), dead=frozenset()) if is_tidied else head.snapshot
        within = scope(snapshot)
        dense = texts_by_id(await store.dense.search(unit(1.0), within, 10_000, budget=budget()))
        lexical = texts_by_id(await store.lexical.search("word", within, 10_000, budget=budget()))
        listed, total = await store.records.page(within, after="", limit=10_000, budget=budget())
        assert dense == lexical
        assert sorted(dense) == [record.document_id for record in listed]
        assert total == len(dense)
        assert {record.document_id: record.chunk_count for record in listed} == {
            name: len(texts) for name, texts in dense.items()
        }
        return dense


def _check(visible, acknowledged):
    """Every visible document is whole and as new as its last acknowledgement; none that was stored is missing."""
    for name, wording in acknowledged.items():
        assert name in visible
        assert wording == "draft" or visible[name] == CORPUS[name]
    for name, texts in visible.items():
        number = int(name.removeprefix("d"))
        assert texts in [set(texts_of(number, wording)) for wording in wordings_of(number)]


def _note(lines, acknowledged):
    for line in lines:
        _, name, wording = line.split()
        acknowledged[name] = wording


def test_thirty_kills_lose_nothing_and_show_nothing_half_done(nursery, tmp_path):
    chance = random.Random()  # other points every time; the invariants hold at all of them
    folder, killed_midway = tmp_path / "data", 0
    acknowledged: dict[str, str] = {}
    for _ in range(KILLS):
        nursery.start("ingest", folder)
        _note([nursery.line() for _ in range(chance.randrange(8))], acknowledged)
        time.sleep(chance.random() * 0.004)  # not only right after an acknowledgement: within the next commit too
        _note(nursery.kill(), acknowledged)
        visible = asyncio.run(_stored(folder))
        _check(visible, acknowledged)
        killed_midway += visible != CORPUS
    assert killed_midway == KILLS
    nursery.start("ingest", folder)
    nursery.rest()
    assert asyncio.run(_stored(folder)) == CORPUS
    assert asyncio.run(_stored(folder, is_tidied=True)) == CORPUS
