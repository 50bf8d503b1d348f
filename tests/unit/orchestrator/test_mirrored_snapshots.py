"""An orchestrator's snapshots from the mirror, on its model and a retriever that may fail."""

from __future__ import annotations

import pytest

from chassis.budget import Budget
from chassis.errors import DeadlineExceeded, RetrieverUnavailable
from chassis.mirror import Mirror
from chassis.telemetry import Telemetry
from orchestrator.retrieval.mirrored import MirroredSnapshots
from orchestrator.types import Filling, Snapshot
from tests.unit.chassis.mirror_model import Model
from tests.unit.orchestrator.world import question

NOW = Snapshot("uid", 7, "retrieval", "embedder")


class ModelStore:
    """The model as a MirrorStore."""

    def __init__(self):
        self.model = Model()

    async def read(self, *arguments):
        return self.model.read(*arguments)

    async def fill(self, *arguments):
        return self.model.fill(*arguments)

    async def begin(self, *arguments):
        self.model.begin(*arguments)

    async def end(self, *arguments):
        self.model.end(*arguments)


class FailingSource:
    """Raises what it is given, one after the other, then fills."""

    def __init__(self, store, failures):
        self._store = store
        self._failures = list(failures)
        self.asked = []

    async def snapshot(self, question, *, budget):
        self.asked.append("snapshot")
        return NOW

    async def fill(self, question, token, *, budget):
        self.asked.append("fill")
        if self._failures:
            raise self._failures.pop(0)
        return Filling(NOW, await self._store.fill("", token, b""))


@pytest.mark.parametrize("failure", [RetrieverUnavailable("down"), DeadlineExceeded("slow")])
async def test_after_a_filling_that_failed_the_next_ask_fills(failure):
    store = ModelStore()
    source = FailingSource(store, [failure])
    snapshots = MirroredSnapshots(source, Mirror(store), Telemetry("test"))
    with pytest.raises(type(failure)):
        await snapshots.snapshot(question(), budget=Budget.of(1.0))
    assert await snapshots.snapshot(question(), budget=Budget.of(1.0)) == NOW
    assert source.asked == ["fill", "fill"]
    assert store.model.value is not None
