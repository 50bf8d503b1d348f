"""A canary whose answers are worse is taken back by its analysis, a good one is promoted; a retriever changes colour
when its preview is judged good. All is real but proxies and kubelet: tests/deploy/releases.py says what stands there.

The bad ones are bad by their settings and what these lead to: a slow model, a model that is not there, one that cites
falsely, a retriever that is not there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from askmesh.rig.process import HOST, POLL_S
from tests.contract.generation.model_server import answer, running
from tests.deploy.documents import Document
from tests.deploy.door import Asks, Door, Searches, calling
from tests.deploy.kubelet import HASH
from tests.deploy.releases import ENDED_S, HASTE, Cluster, hastened, manifests, phase_of, running_cluster
from tests.proxies import proxied

pytestmark = pytest.mark.timeout(int(5 * ENDED_S))
in_the_cluster = pytest.mark.asyncio(loop_scope="module")
SLOW_S = 0.5  # before each piece of an answer: the analysis calls anything under 200 ms fast
# The weights that a bad canary sees. The first step has time for all looks; a busy machine may not.
TAKEN_BACK = ([0, 10, 0], [0, 10, 50, 0])
HALF = 50
PROMOTED = ([0, 10, HALF, 100, 0], [0, 10, HALF, 0, HALF, 100, 0])  # the second: seen between an apply and its undoing
ENOUGH = 20  # calls
ENOUGH_S = 60.0  # 1 s in quiet


@dataclass(frozen=True, slots=True)
class Models:
    """Addresses of model servers."""

    good: str
    slow: str
    lying: str
    absent: str


@dataclass(frozen=True, slots=True)
class System:
    cluster: Cluster
    models: Models


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models() -> AsyncIterator[Models]:
    async with running() as good, running() as lying, proxied(good.port) as slow:
        good.reply = answer("A lease lasts ", "30 seconds [1].")
        # Neither does the source say so, nor is there a seventh one.
        lying.reply = answer("A lease lasts ", "99 years and ends at midnight [7].")
        slow.delay_s = SLOW_S
        yield Models(good.base_url, f"http://{HOST}:{slow.port}/v1", lying.base_url, f"http://{HOST}:1/v1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(cluster: Cluster, models: Models, colours: object) -> AsyncIterator[System]:
    """Orchestrators with a good model, released for the first time; `colours` goes on meanwhile."""
    later = [released(models) for released in (*WORSE.values(), unasked, better)]
    await cluster.install("orchestrator", orchestrating(models.good), later=later)
    yield System(cluster, models)


def orchestrating(model: str, **more: str) -> dict[str, str]:
    found = {"GENERATOR": "openai", "LLM_URL": model, **more}
    return {f"ASKMESH_ORCHESTRATOR_{name}": value for name, value in found.items()}


@asynccontextmanager
async def asked(system: System) -> AsyncIterator[Asks]:
    """Callers ask until this is left."""
    asks = Asks(system.cluster.kubernetes, system.cluster.kubelet)
    async with calling(asks):
        asks.is_open.set()
        yield asks


async def until(holds) -> None:
    async with asyncio.timeout(ENOUGH_S):
        while not holds():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(POLL_S)


async def after(calls: Door) -> Counter[tuple[str, str]]:
    """What comes of calls that begin now."""
    calls.is_open.clear()
    await until(lambda: calls.under_way == 0)
    before = calls.came_of.copy()
    calls.is_open.set()
    await until(lambda: calls.came_of.total() >= before.total() + ENOUGH)
    return calls.came_of - before


async def deployed_again(asks: Asks) -> None:
    """Apply the manifests in the middle of a release, as deploy.sh does: they set the weights to where they begin and
    leave the subsets without their hashes. Returns when the controller has undone that."""
    changes = await asks.changes()
    own = {"VirtualService", "DestinationRule"}
    await asks.kubernetes.apply(*[each for each in manifests("orchestrator") if each["kind"] in own])
    async with asyncio.timeout(ENOUGH_S):
        while await asks.changes() < changes + 2:  # noqa: ASYNC110  # a watch is no simpler
            await asyncio.sleep(POLL_S)


def is_over(rollout: Document) -> bool:
    return phase_of(rollout) in {"Healthy", "Degraded"}


def judgements(run: Document) -> Mapping[str, str]:
    """Phases of an AnalysisRun's metrics."""
    return {each["name"]: each["phase"] for each in run["status"]["metricResults"]}


WORSE = {
    "first-token": lambda models: orchestrating(models.slow),
    "degraded": lambda models: orchestrating(models.absent),
    "quality": lambda models: orchestrating(models.lying),
    "errors": lambda models: orchestrating(models.good, RETRIEVER_ADDRESS=f"{HOST}:1"),
}


def unasked(models: Models) -> dict[str, str]:
    return orchestrating(models.good, MODEL_REVISION="unasked")


def better(models: Models) -> dict[str, str]:
    return orchestrating(models.good, MODEL_REVISION="2")


@in_the_cluster
@pytest.mark.parametrize("metric", WORSE)
async def test_a_worse_canary_is_taken_back(system, metric):
    cluster = system.cluster
    stable = (await cluster.rollout("orchestrator"))["status"]["stableRS"]
    async with asked(system) as asks:
        canary = await cluster.release("orchestrator", WORSE[metric](system.models))
        ended = await cluster.until("orchestrator", is_over)
        await until(lambda: len(asks.weights) > 1 and asks.weights[-1] == 0)
        asks.is_looked_at = False
        came_of = await after(asks)
    assert (phase_of(ended), ended["status"]["stableRS"]) == ("Degraded", stable)
    assert f'Metric "{metric}" assessed Failed' in ended["status"]["message"]
    (run,) = await cluster.analyses(canary)
    assert run["status"]["phase"] == "Failed"
    assert [name for name, phase in judgements(run).items() if phase == "Failed"] == [metric]
    assert asks.weights in TAKEN_BACK
    assert set(came_of) == {(stable, "OK")}
    assert {code for release, code in asks.came_of if release == stable} == {"OK"}
    assert ("", "NO_PODS") not in asks.came_of


@in_the_cluster
async def test_a_canary_that_nobody_asks_is_not_promoted(system):
    """Empty answers of Prometheus are no success."""
    cluster = system.cluster
    stable = (await cluster.rollout("orchestrator"))["status"]["stableRS"]
    async with asked(system) as asks:
        asks.pinned = "v1"
        canary = await cluster.release("orchestrator", unasked(system.models))
        ended = await cluster.until("orchestrator", is_over)
        await until(lambda: len(asks.weights) > 1 and asks.weights[-1] == 0)
    assert (phase_of(ended), ended["status"]["stableRS"]) == ("Degraded", stable)
    assert 'Metric "asked" assessed Failed' in ended["status"]["message"]
    assert asks.weights in TAKEN_BACK
    (run,) = await cluster.analyses(canary)
    assert sum(each.get("successful", 0) for each in run["status"]["metricResults"]) == 0
    assert set(asks.came_of) == {(stable, "OK")}


@in_the_cluster
async def test_a_good_canary_is_promoted(system):
    cluster = system.cluster
    async with asked(system) as asks:
        canary = await cluster.release("orchestrator", better(system.models))
        await until(lambda: asks.subsets.get("v2", {}).get(HASH) == canary)
        await until(lambda: cluster.kubelet.selected(asks.subsets["v2"]))
        assert asks.weights == [0]
        pinned = await asks.ask("v2")
        await until(lambda: asks.weights[-1] == HALF)
        await deployed_again(asks)
        ended = await cluster.until("orchestrator", is_over)
        await until(lambda: asks.subsets["v1"][HASH] == canary and asks.weights[-1] == 0)
        asks.is_looked_at = False
        came_of = await after(asks)
    assert (phase_of(ended), ended["status"]["stableRS"]) == ("Healthy", canary)
    assert pinned == "OK"  # somebody could look at it before it had any weight
    assert asks.weights in PROMOTED
    (run,) = await cluster.analyses(canary)
    assert judgements(run) == dict.fromkeys(("asked", *WORSE), "Successful")
    assert all(each["successful"] > 1 for each in run["status"]["metricResults"])
    assert {code for _, code in asks.came_of} == {"OK"}
    assert set(came_of) == {(canary, "OK")}


WORDS_ONLY = {"ASKMESH_RETRIEVER_EMBEDDER": "none"}
BUSIER = {"ASKMESH_RETRIEVER_MAX_RETRIEVALS": "4"}


@dataclass(frozen=True, slots=True)
class Colour:
    """What came of a retriever's release.

    Attributes:
        before: The hash of the active pods until then.
        selected: The hash that the active Service selected at the end.
        codes: Of all searches whose answers somebody got.
        came_of: Such searches after the end.
    """

    before: str
    release: str
    selected: str
    rollout: Document
    analyses: list[Document]
    codes: set[str]
    came_of: Counter[tuple[str, str]]


async def colour(cluster: Cluster, settings: Mapping[str, str]) -> Colour:
    """Release a retriever while searches go on, to its end."""
    before = (await cluster.rollout("retriever"))["status"]["stableRS"]
    searches = Searches(cluster.kubernetes, cluster.kubelet)
    async with calling(searches):
        searches.is_open.set()
        release = await cluster.release("retriever", settings)
        rollout = await cluster.until("retriever", is_over)
        await searches.look()
        came_of = await after(searches)
    codes = {code for _, code in searches.came_of}
    selected = searches.selectors["retriever"][HASH]
    return Colour(before, release, selected, rollout, await cluster.analyses(release), codes, came_of)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def colours(cluster: Cluster) -> AsyncIterator[Mapping[str, asyncio.Task[Colour]]]:
    """Retrievers released beside the orchestrators of the other tests, a worse one and then a good one."""

    async def worse() -> Colour:
        await cluster.install("retriever", {}, later=(WORDS_ONLY, BUSIER))
        return await colour(cluster, WORDS_ONLY)

    async def good() -> Colour:
        await asyncio.wait([tasks["worse"]])
        return await colour(cluster, BUSIER)

    tasks = {"worse": asyncio.create_task(worse())}
    tasks["good"] = asyncio.create_task(good())
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@in_the_cluster
async def test_a_worse_retriever_is_not_switched_to(colours):
    worse = await colours["worse"]
    assert (phase_of(worse.rollout), worse.rollout["status"]["stableRS"]) == ("Degraded", worse.before)
    assert worse.selected == worse.before
    (run,) = worse.analyses
    assert [name for name, phase in judgements(run).items() if phase == "Failed"] == ["retrieval-degraded"]
    assert worse.codes == {"OK"}


@in_the_cluster
async def test_a_good_retriever_is_switched_to_after_its_analysis(colours):
    good = await colours["good"]
    assert (phase_of(good.rollout), good.rollout["status"]["stableRS"]) == ("Healthy", good.release)
    assert good.selected == good.release
    before, later = good.analyses
    assert judgements(before) == dict.fromkeys(RETRIEVAL, "Successful")
    assert judgements(later) == {"retrieval-errors": "Successful"}
    assert good.codes == {"OK"}
    assert set(good.came_of) == {(good.release, "OK")}


RETRIEVAL = ("retrieval-errors", "retrieval-degraded", "retrieval-latency")


def leaves(value, path=()):
    """Every plain value of a document, by where it is."""
    match value:
        case dict():
            return {where: leaf for key, each in value.items() for where, leaf in leaves(each, (*path, key)).items()}
        case list():
            return {where: leaf for i, each in enumerate(value) for where, leaf in leaves(each, (*path, i)).items()}
        case _:
            return {path: value}


def test_nothing_is_changed_but_durations_intervals_and_counts():
    changed = set()
    for document in [*manifests("orchestrator"), *manifests("retriever")]:
        before, after_ = leaves(document), leaves(hastened(document))
        assert before.keys() == after_.keys()
        changed |= {where[-1] for where in before if before[where] != after_[where]}
    assert changed == set(HASTE)
