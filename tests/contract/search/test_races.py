"""Reads that start after an acknowledgement never see the state before it: replacements, ACL changes and deletes."""

from __future__ import annotations

import asyncio

from retriever.ingest.purge import Janitor
from retriever.ingest.snapshots import SnapshotReader
from tests.contract.search.samples import TENANT, budget, prepared, scope, unit

NAME = "handbook"
READS = 1_000  # at least
WRITES = 40  # at least
READERS = 8


class Life:
    """One document's states in order: shown, hidden by its groups, deleted, shown, ...

    Attributes:
        begun: The latest state a write was started for.
        acknowledged: The latest state a write was acknowledged for.
    """

    def __init__(self) -> None:
        self.begun = self.acknowledged = 0

    @staticmethod
    def is_shown(state: int) -> bool:
        return state % 3 == 0

    def may_be_missing(self, since: int) -> bool:
        """Whether some state from `since` on shows nothing."""
        return any(not self.is_shown(state) for state in range(since, self.begun + 1))


async def _write(committer, life, is_over):
    while not is_over.is_set():
        life.begun += 1
        match life.begun % 3:
            case 2:
                await committer.delete(TENANT, NAME, "a", budget=budget())
            case kind:
                document = prepared("a", [f"word {life.begun}"], groups=("*",) if kind == 0 else ("hr",))
                await committer.put(TENANT, NAME, document, budget=budget())
        life.acknowledged = life.begun


async def _read(leaves, reader, life):
    """Returns how many reads saw the document and how many saw none."""
    shown = count = 0
    while count < READS // READERS or life.acknowledged < WRITES:
        count += 1
        since = life.acknowledged
        head = (await reader.head(TENANT, NAME, budget=budget())).head
        within = scope(head.snapshot)
        leg = leaves.dense.search(unit(1.0), within, 10, budget=budget())
        if count % 2:
            leg = _swapped(leg, leaves.lexical.search("word", within, 10, budget=budget()))
        hits = await leg
        states = [int(hit.chunk.text.removeprefix("word ")) for hit in hits]
        if states:
            assert len(states) == 1
            assert life.is_shown(states[0])
            assert since <= states[0] <= life.begun
            shown += 1
        else:
            assert life.may_be_missing(since)
    return shown, count - shown


def _swapped(unused, wanted):
    unused.close()
    return wanted


async def test_a_thousand_racing_reads_never_see_what_was_passed_when_they_began(leaves, stores, committer):
    life, is_over = Life(), asyncio.Event()
    reader = SnapshotReader(leaves.heads, timebox_s=30)
    janitor = Janitor(stores, survey=leaves.heads, leases=leaves.leases, owner="me")
    await committer.put(TENANT, NAME, prepared("a", ["word 0"]), budget=budget())
    async with janitor.running():
        writing = asyncio.create_task(_write(committer, life, is_over))
        counts = await asyncio.gather(*(_read(leaves, reader, life) for _ in range(READERS)))
        is_over.set()
        await writing
    assert min(map(sum, zip(*counts, strict=True))) > 0
