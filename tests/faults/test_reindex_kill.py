"""kill -9 at random points of a reindex with a writer beside it: nothing is lost, nothing is seen twice, and the next
run finishes what the dead one began."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

from retriever.ingest.commit import Stores
from retriever.ingest.purge import Janitor
from retriever.search.embedded import open_embedded
from retriever.types import BUILD_SUFFIX
from retriever.upkeep.repair import Repairer
from retriever.upkeep.sweep import unnamed
from retriever.upkeep.verify import Verifier
from tests.contract.search.samples import TENANT, budget, scope, texts_by_id, unit
from tests.contract.search.upkeeping import last_of, recipe
from tests.faults.reindexing import COLLECTION, DOCUMENTS, reindexer_of, upkeep_of

KILLS = 12


async def _checked(folder, *, is_last=False):
    """What a restarted process shows, by both legs; it must be sound. At last a run is carried to its end."""
    async with open_embedded(folder) as store:
        stores = Stores(store.heads, store.records, store.dense, store.lexical)
        janitor = Janitor(stores, survey=store.heads, leases=store.leases, owner="after", grace_s=0.0)
        await janitor.recover(budget=budget())
        if is_last:
            run = reindexer_of(store).reindex(TENANT, COLLECTION, recipe(), keep=timedelta(0), budget=budget(120))
            await last_of(run)
            assert await store.heads.get(TENANT, COLLECTION + BUILD_SUFFIX, budget=budget()) is None
        head = await store.heads.get(TENANT, COLLECTION, budget=budget())
        assert head is not None
        assert (head.open_numbers, head.held_by) == ({}, "")
        within = scope(head.snapshot)
        found = texts_by_id(await store.lexical.search("word", within, 10_000, budget=budget()))
        assert texts_by_id(await store.dense.search(unit(1.0), within, 10_000, budget=budget())) == found
        upkeep = upkeep_of(store)
        verifier = Verifier(upkeep, Repairer(upkeep, recipe, owner="after", now=lambda: datetime.now(UTC)))
        report = await last_of(verifier.verify(TENANT, COLLECTION, repair=False, budget=budget(60)))
        assert (report.findings, report.documents) == ((), DOCUMENTS)
        left = await unnamed(store.heads, upkeep.holdings, budget=budget())
        assert is_last or left == set()  # what the last run replaced goes with the next sweep, or at the next start
        return head.snapshot.generation, found


def _last_words(lines, said):
    """What a writer was told is stored, by document; of two words the later one."""
    for line in lines:
        if line.startswith("ack"):
            _, name, wording = line.split()
            said[name] = wording


def test_a_reindex_that_is_killed_loses_nothing_and_is_finished_by_the_next(nursery, tmp_path):
    chance = random.Random()
    folder, generation = tmp_path / "data", 0
    for _ in range(KILLS):
        said: dict[str, str] = {}
        nursery.start("reindex", folder)
        while nursery.line() != "filled":
            pass
        _last_words([nursery.line() for _ in range(chance.randrange(8))], said)
        time.sleep(chance.random() * 0.05)
        _last_words(nursery.kill(), said)
        reached, visible = asyncio.run(_checked(folder))
        assert reached >= generation
        generation = reached
        assert sorted(visible) == sorted(f"d{number}" for number in range(DOCUMENTS))
        for name, wording in said.items():
            [text] = visible[name]
            seen = text.split()[-1]
            assert seen == wording or int(seen.removeprefix("turn")) > int(wording.removeprefix("turn"))
    reached, _ = asyncio.run(_checked(folder, is_last=True))
    assert reached >= generation  # equal where the killed run had put its build in place already
