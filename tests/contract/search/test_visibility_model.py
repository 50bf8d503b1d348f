"""A model of visibility: writers, dying writers, aborters, purgers and readers in any order.

The model is a dictionary. Readers take snapshots at any time and use them later, as slow requests do: within the grace
of the purger they must see exactly what the model held when the snapshot was taken, in both legs and in the catalogue.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chassis.errors import CollectionNotFound, DocumentNotFound, SearchUnavailable
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.ledger import opened
from retriever.ingest.purge import GRACE_S, STALE_AFTER_S, Janitor
from retriever.ingest.snapshots import SnapshotReader
from retriever.types import Snapshot
from tests.contract.search.conftest import ADAPTERS
from tests.contract.search.faults import Interposed, failing
from tests.contract.search.samples import (
    TENANT,
    FakeClock,
    budget,
    prepared,
    scope,
    texts_by_id,
    unit,
    vectors_of,
    written,
)

NAME = "handbook"
IDS = st.sampled_from(["a", "b", "c", "d"])
GROUPS = st.sampled_from([("*",), ("hr",), ("hr", "law")])
Model = dict[str, tuple[set[str], tuple[str, ...]]]


class Visibility(RuleBasedStateMachine):
    """Drives real stores and the model side by side."""

    adapter = "embedded"

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock()
        self.model: Model = {}
        self.is_known = False
        self.taken: list[tuple[Snapshot, Model, float]] = []
        self.count = 0
        self.runner.run(self._open())

    async def _open(self):
        self.leaves = await self.stack.enter_async_context(ADAPTERS[self.adapter](self.folder))
        leaves = self.leaves
        self.stores = Stores(leaves.heads, leaves.records, Interposed(leaves.dense), Interposed(leaves.lexical))
        self.committer = await self.stack.enter_async_context(
            Committer(self.stores, owner="writer", clock=self.clock, sleep=self.clock.sleep)
        )
        self.janitor = Janitor(self.stores, survey=leaves.heads, leases=leaves.leases, owner="writer", clock=self.clock)
        self.reader = SnapshotReader(leaves.heads, clock=self.clock, timebox_s=30)

    def teardown(self):
        if hasattr(self, "runner"):
            self.runner.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    def _texts(self, chunks):
        self.count += 1
        return [f"word {self.count}.{n}" for n in range(chunks)]

    @rule(batch=st.dictionaries(IDS, st.tuples(st.integers(1, 3), GROUPS), min_size=1, max_size=3))
    def put_together(self, batch):
        texts = {name: self._texts(chunks) for name, (chunks, _) in batch.items()}

        async def run():
            await asyncio.gather(
                *(
                    self.committer.put(TENANT, NAME, prepared(name, texts[name], groups=groups), budget=budget())
                    for name, (_, groups) in batch.items()
                )
            )

        self.runner.run(run())
        self.model |= {name: (set(texts[name]), groups) for name, (_, groups) in batch.items()}
        self.is_known = True

    @rule(name=IDS, groups=GROUPS)
    def change_the_readers(self, name, groups):
        if name in self.model:
            texts = sorted(self.model[name][0])
            document = prepared(name, texts, groups=groups)
            self.runner.run(self.committer.put(TENANT, NAME, document, budget=budget()))
            self.model[name] = (set(texts), groups)

    @rule(name=IDS)
    def delete(self, name):
        if name in self.model:
            self.runner.run(self.committer.delete(TENANT, NAME, name, budget=budget()))
            del self.model[name]
        else:
            with pytest.raises(DocumentNotFound if self.is_known else CollectionNotFound):
                self.runner.run(self.committer.delete(TENANT, NAME, name, budget=budget()))

    @rule(name=IDS, leg=st.sampled_from(["dense", "lexical"]), method=st.sampled_from(["write", "seal"]))
    def put_into_a_failing_store(self, name, leg, method):
        getattr(self.stores, leg).before[method] = [failing(SearchUnavailable("down"))]
        document = prepared(name, self._texts(2))
        with pytest.raises(SearchUnavailable):
            self.runner.run(self.committer.put(TENANT, NAME, document, budget=budget()))

    @rule(name=IDS, is_late=st.booleans())
    def a_writer_dies(self, name, is_late):
        """It took a number and wrote; perhaps its store writes only after the number was aborted."""
        if not self.is_known:
            return

        async def run():
            head, number = opened((await self.reader.head(TENANT, NAME, budget=budget())).head, "dead")
            head = await self.leaves.heads.swap(head, budget=budget())
            if is_late:
                await self.janitor.recover(budget=budget())
            rows = [written(name, number, 0, ["word of a ghost"])]
            for store in (self.leaves.dense, self.leaves.lexical):
                await store.write(TENANT, head.snapshot.uid, rows, vectors_of(rows), budget=budget())
            await self.leaves.records.put(TENANT, head.snapshot.uid, [(rows[0][0], "ghost")], budget=budget())

        self.runner.run(run())

    @rule(seconds=st.sampled_from([0.0, 1.0, GRACE_S / 2, GRACE_S, STALE_AFTER_S]))
    def time_passes_and_the_janitor_tidies(self, seconds):
        self.clock.advance(seconds)
        self.runner.run(self.janitor.tidy(budget=budget()))

    @rule()
    def drop_the_collection(self):
        if self.is_known:
            self.runner.run(self.committer.drop_collection(TENANT, NAME, budget=budget()))
            self.model, self.is_known, self.taken = {}, False, []

    @rule()
    def restart(self):
        """Everything in memory is lost; snapshots that readers held are too."""
        self.runner.run(self.stack.aclose())
        self.runner.run(self._open())
        self.runner.run(self.janitor.recover(budget=budget()))
        self.taken = []

    @rule()
    def a_slow_reader_takes_a_snapshot(self):
        if self.is_known:
            head = self.runner.run(self.reader.head(TENANT, NAME, budget=budget())).head
            self.taken.append((head.snapshot, dict(self.model), self.clock()))

    @invariant()
    def slow_readers_see_what_was_there_when_they_began(self):
        if hasattr(self, "taken"):
            self.taken = [each for each in self.taken if self.clock() - each[2] < GRACE_S]
            for snapshot, model, _ in self.taken:
                self.runner.run(self._check(snapshot, model))

    @invariant()
    def new_readers_see_what_was_acknowledged_last(self):
        if not hasattr(self, "model"):
            return
        if not self.is_known:
            with pytest.raises(CollectionNotFound):
                self.runner.run(self.reader.head(TENANT, NAME, budget=budget()))
            return
        head = self.runner.run(self.reader.head(TENANT, NAME, budget=budget())).head
        self.runner.run(self._check(head.snapshot, self.model))

    async def _check(self, snapshot, model):
        for groups in (("*",), ("*", "hr"), ("*", "hr", "law")):
            within = scope(snapshot, groups=groups)
            expected = {name: texts for name, (texts, readers) in model.items() if set(readers) & set(groups)}
            dense = await self.leaves.dense.search(unit(1.0), within, 1_000, budget=budget())
            lexical = await self.leaves.lexical.search("word", within, 1_000, budget=budget())
            listed, total = await self.leaves.records.page(within, after="", limit=1_000, budget=budget())
            assert texts_by_id(dense) == expected
            assert texts_by_id(lexical) == expected
            assert [each.document_id for each in listed] == sorted(expected)
            assert total == len(expected)


# A step on a server is some thirty requests instead of as many reads of a file: half the histories take a minute.
EXAMPLES = {"embedded": 30}
SERVER_EXAMPLES = 15


@pytest.mark.timeout(600)
@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_nobody_sees_half_a_commit_a_ghost_or_a_loss(adapter):
    Visibility.adapter = adapter
    run_state_machine_as_test(
        Visibility,
        settings=settings(
            max_examples=EXAMPLES.get(adapter, SERVER_EXAMPLES),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
