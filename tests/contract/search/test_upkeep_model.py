"""The model of visibility with reindexes, rollbacks and runs that die: whatever happens in whatever order, readers see
exactly the model, and a check finds nothing wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from chassis.errors import Conflict, RollbackUnavailable, SearchUnavailable
from retriever.ingest.lease import TERM_S
from retriever.types import BUILD_SUFFIX
from retriever.upkeep.reindexing import Reindexer
from retriever.upkeep.repair import Repairer
from retriever.upkeep.verify import Verifier
from tests.contract.search.faults import Interposed, failing, nothing
from tests.contract.search.samples import TENANT, budget
from tests.contract.search.test_visibility_model import NAME, Visibility
from tests.contract.search.upkeeping import WALL, last_of, recipe, upkeep_stores

KEEP = timedelta(days=1)
METHODS = {"heads": "swap", "records": "put", "lexical": "write"}


class Upkeep(Visibility):
    """What the model there does, and an operator."""

    def _reindexer(self, **changes: Any) -> Reindexer:
        stores = replace(upkeep_stores(self.leaves), **changes)
        return Reindexer(stores, recipe, owner="operator", now=lambda: WALL, clock=self.clock, sleep=self.clock.sleep)

    def _head(self, name=NAME):
        return self.runner.run(self.leaves.heads.get(TENANT, name, budget=budget()))

    def _reindex(self, reindexer):
        events = reindexer.reindex(TENANT, NAME, recipe(), keep=KEEP, budget=budget(120))
        return self.runner.run(last_of(events))

    @rule()
    def reindex(self):
        if self.is_known:
            before = self._head().snapshot
            report = self._reindex(self._reindexer())
            after = self._head().snapshot
            assert (report.new_uid, report.documents) == (after.uid, len(self.model))
            assert after.generation >= before.generation

    @rule(port=st.sampled_from(sorted(METHODS)), call=st.integers(0, 9), is_killed=st.booleans())
    def a_reindex_dies(self, port, call, is_killed):
        """After some step; killed, it leaves its lease as it was, and whoever comes next waits that out."""
        if not self.is_known:
            return
        ports: Any = Interposed(getattr(self.leaves, port))
        ports.after[METHODS[port]] = [*[nothing] * call, failing(SearchUnavailable("killed"))]
        try:
            self._reindex(self._reindexer(**{port: ports}))
        except SearchUnavailable:
            if is_killed:
                self.runner.run(self._leave_lease())

    async def _leave_lease(self):
        name = f"reindex {TENANT} {NAME}"
        lease = await self.leaves.leases.get(name, budget=budget())
        await self.leaves.leases.swap(replace(lease, owner="dead", beats=lease.beats + 1), budget=budget())

    @rule()
    def roll_back(self):
        if not self.is_known:
            return
        kept, before = self._head().retired, self._head().snapshot
        try:
            report = self.runner.run(last_of(self._reindexer().roll_back(TENANT, NAME, budget=budget(120))))
        except RollbackUnavailable:
            assert kept is None
        except Conflict:
            assert self._head(NAME + BUILD_SUFFIX) is not None
        else:
            assert kept is not None
            assert report.new_uid == kept.snapshot.uid == self._head().snapshot.uid
            assert report.generation > before.generation

    @rule()
    def cancel(self):
        if self.is_known:
            self.runner.run(self._reindexer().cancel(TENANT, NAME, budget=budget(60)))
            assert self._head(NAME + BUILD_SUFFIX) is None

    @invariant()
    def a_check_finds_nothing_wrong(self):
        if hasattr(self, "model") and self.is_known:
            stores = upkeep_stores(self.leaves)
            verifier = Verifier(stores, Repairer(stores, recipe, owner="operator", now=lambda: WALL))
            report = self.runner.run(last_of(verifier.verify(TENANT, NAME, repair=False, budget=budget(60))))
            assert (report.findings, report.documents) == ((), len(self.model))


EXAMPLES = {"embedded": 40, "cluster": 6}  # a step on the servers is some fifty requests


@pytest.mark.timeout(900)
@pytest.mark.parametrize("adapter", sorted(EXAMPLES))
def test_reindexes_and_rollbacks_in_any_order_show_no_reader_anything_but_the_model(adapter):
    assert TERM_S < 60, "a killed run is waited out within a test's budget"
    Upkeep.adapter = adapter
    run_state_machine_as_test(
        Upkeep,
        settings=settings(
            max_examples=EXAMPLES[adapter],
            stateful_step_count=25 if adapter == "embedded" else 15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
