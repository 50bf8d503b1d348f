"""KEDA's real operator scales by our ScaledObjects, on what a real Prometheus reads from our real services.

`make test` runs fifteen times faster than the manifests say; `make faults` as shipped, which takes twenty minutes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import itertools
import json
import math

import pytest
import pytest_asyncio
from rag.orchestrator.v1 import orchestrator_pb2

from askmesh.rig.kubernetes import KubectlFailed
from askmesh.rig.process import POLL_S
from tests.deploy.autoscaling import Pace, Scaling, Size, sleeping_model, trigger
from tests.deploy.documents import DEPLOY, built
from tests.deploy.scaled_cluster import running_scaled_cluster
from tests.faults.processes import IS_CAMPAIGN

PACE = Pace(1, 1) if IS_CAMPAIGN else Pace(15, 30)
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3_600 if IS_CAMPAIGN else 600)]
THRESHOLD = int(trigger(PACE.scaled_object("retriever", ""), "requests-per-second")["threshold"])  # per replica
# Seven replicas' worth: at six the HPA still sees more than a tenth too much, at seven it is content. From two it takes
# two steps at least.
PER_SECOND = 6.8 * THRESHOLD
WANTED = math.ceil(PER_SECOND / THRESHOLD)
# The periods and the window of the ScaledObject; tests/deploy/test_numbers.py holds them.
UP_S, DOWN_S, WINDOW_S = 30, 60, 300
STAMP_S = 1  # events are stamped to the second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory):
    async with running_scaled_cluster(tmp_path_factory.mktemp("scaled"), PACE) as made:
        yield made


async def apply(cluster, *documents):
    """As kubectl does it, and a warning is an error: KEDA's admission objects in both ways."""
    text = "\n---\n".join(json.dumps(each) for each in documents)
    await cluster.kubernetes.kubectl("apply", "--server-side", "--warnings-as-errors", "-f", "-", stdin=text)


# --- what KEDA says to the manifests ---


def moved(document, namespace):
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


def with_number(document):
    """KEDA takes no Rollout without a number of replicas; Argo's controller writes 1 where the manifest has none."""
    return {**document, "spec": {"replicas": 1, **document["spec"]}} if document["kind"] == "Rollout" else document


@pytest.mark.parametrize("overlay", ["kind", "gke"])
async def test_keda_takes_every_scaled_object_as_shipped(cluster, overlay):
    """In a namespace of its own, with the workloads: those that the overlay scales, and that KServe would make."""
    namespace = f"shipped-{overlay}"
    documents = [each for each in built(DEPLOY / "overlays" / overlay) if each["metadata"].get("namespace") == "rag"]
    by_kind = {
        kind: [moved(with_number(each), namespace) for each in documents if each["kind"] == kind]
        for kind in ("ConfigMap", "Deployment", "Rollout", "ScaledObject")
    }
    scaled = by_kind.pop("ScaledObject")
    assert {each["metadata"]["name"] for each in scaled} >= {"retriever", "orchestrator"}
    await apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await apply(cluster, *itertools.chain(*by_kind.values()), moved(sleeping_model(), namespace))

    await apply(cluster, *scaled)

    for each in scaled:
        found = Scaling(cluster.kubernetes, each["metadata"]["name"], "", namespace)
        await cluster.until(lambda found=found: is_ready(found))


async def is_ready(scaling):
    return await scaling.condition("Ready") == "True"


async def test_keda_refuses_a_second_autoscaler_on_a_workload(cluster):
    """As the original has it: why there is one object with both triggers."""
    second = PACE.scaled_object("orchestrator", cluster.prometheus.url)
    second["metadata"]["name"] = "second"
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "own", "namespace": "rag"},
        "spec": {"scaleTargetRef": second["spec"]["scaleTargetRef"], "maxReplicas": 2},
    }
    await apply(cluster, hpa)
    try:
        with pytest.raises(KubectlFailed, match=r"'orchestrator' .* is already managed by the hpa 'own'"):
            await apply(cluster, second)
    finally:
        await cluster.kubernetes.kubectl("delete", "--namespace", "rag", "hpa", "own")


# --- what becomes of the replicas ---


@dataclasses.dataclass
class Story:
    """What was seen, in order; the retriever's scaling unless it says otherwise.

    Attributes:
        steady: Replicas under load.
        peak: The highest value that Prometheus gave until then.
        after_loss: Replicas after Prometheus had lost the retriever, when KEDA had fallen back.
        after_outage: Replicas after longer without numbers than the autoscaler's window, at the end without Prometheus.
        model_after_outage: The model's then.
        quiet_at: When the load ended.
    """

    sizes: list[Size] = dataclasses.field(default_factory=list)
    steady: int = 0
    peak: float = 0.0
    after_loss: int = 0
    after_outage: int = 0
    model_after_outage: int = 0
    quiet_at: float = 0.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(cluster):
    """Load, a lost target, an outage, and quiet: each test looks at its part."""
    seen = Story()
    scaled = {
        name: PACE.scaled_object(name, cluster.prometheus.url) for name in ("triton", "orchestrator", "retriever")
    }
    rate = trigger(scaled["retriever"], "requests-per-second")["query"]
    retriever = Scaling(cluster.kubernetes, "retriever", "retriever")
    model = Scaling(cluster.kubernetes, "triton", "triton-predictor")
    async with cluster.loaded(PER_SECOND):
        await apply(cluster, scaled["triton"], scaled["orchestrator"])
        await cluster.until(lambda: cluster.numbers.ask(f"{rate} > {0.95 * PER_SECOND}"), shipped_s=120)
        assert await model.replicas() == 0
        await wake(cluster, model)
        await apply(cluster, scaled["retriever"])
        await cluster.until(lambda: at_least(retriever, WANTED), shipped_s=10 * UP_S)
        seen.steady = await retriever.replicas()
        seen.peak = await peak(cluster, rate)
        over = asyncio.get_running_loop().time() + 1.2 * PACE.window(WINDOW_S)
        await lose_target(cluster, retriever, seen)
        await outage(cluster, retriever, model, seen, over)
    seen.quiet_at = datetime.datetime.now(datetime.UTC).timestamp()
    await cluster.until(lambda: is_at(retriever, 2), shipped_s=2 * WINDOW_S + 4 * DOWN_S)
    seen.sizes = await retriever.sizes()
    return seen


async def at_least(scaling, replicas):
    return await scaling.ready() >= replicas


async def is_at(scaling, replicas):
    return await scaling.replicas() == replicas


async def peak(cluster, rate):
    """The highest that the autoscaler can have been told so far."""
    (found,) = await cluster.numbers.ask(f"max_over_time(({rate})[15m:{PACE.seconds(15)}s])")
    return float(found["value"][1])


async def wake(cluster, model):
    """One ask, answered from the sources, is enough."""
    reply = await cluster.ask()
    lost = [each.reason for each in reply.completed.degraded]
    assert orchestrator_pb2.DEGRADED_REASON_MODEL_COLD in lost
    await cluster.until(lambda: is_at(model, 1), shipped_s=120)


async def lose_target(cluster, retriever, seen):
    """Prometheus answers, and knows nothing of the retriever any more; it goes on serving."""
    cluster.wire.cut()

    async def falls_back():
        is_told_to_stay = await retriever.asked_per_replica(1) == str(THRESHOLD)
        return is_told_to_stay and await retriever.condition("Fallback") == "True"

    await cluster.until(falls_back, shipped_s=300)
    seen.after_loss = await retriever.replicas()


async def outage(cluster, retriever, model, seen, over):
    """Prometheus itself is gone, until the autoscaler has nothing from before in its window."""
    await cluster.prometheus.stop()
    seen.after_outage = seen.after_loss
    while asyncio.get_running_loop().time() < over and seen.after_outage >= seen.steady:
        await asyncio.sleep(POLL_S)  # nothing is what should happen
        seen.after_outage = await retriever.replicas()
    seen.model_after_outage = await model.replicas()
    await cluster.prometheus.start()
    cluster.wire.mend()
    await cluster.until(lambda: cluster.numbers.ask("up"), shipped_s=60)


async def test_replicas_follow_the_load_up(story, record_property):
    record_property("replicas", " ".join(str(size.replicas) for size in story.sizes))
    assert WANTED <= story.steady <= math.ceil(story.peak / THRESHOLD)


async def test_no_step_up_is_larger_than_the_behaviour_allows(story):
    """Double, or four more, of what there was half a minute before; here that held it back at least once."""
    first = dataclasses.replace(story.sizes[0], replicas=1)  # what a Deployment without a number has
    ups = [after for before, after in itertools.pairwise([first, *story.sizes]) if after.replicas > before.replicas]
    for after in ups:
        then = size_at(story, after.at - PACE.seconds(UP_S) + STAMP_S)
        assert after.replicas <= max(2 * then, then + 4)
    assert any(after.replicas < WANTED for after in ups[1:])


async def test_replicas_follow_the_load_down_after_the_window_and_by_halves(story):
    downs = [after for before, after in itertools.pairwise(story.sizes) if after.replicas < before.replicas]
    assert downs[0].at >= story.quiet_at + PACE.window(WINDOW_S) - STAMP_S
    for after in downs:
        then = size_at(story, after.at - PACE.seconds(DOWN_S) + STAMP_S)
        assert after.replicas >= then // 2
    assert story.sizes[-1].replicas == 2


async def test_a_lost_target_scales_nobody_down(story):
    """Although the rate falls to nothing within its lookback: the window is longer, and then KEDA falls back."""
    assert story.after_loss >= story.steady


async def test_an_outage_of_prometheus_scales_nobody_down(story):
    assert story.after_outage >= story.steady
    assert story.model_after_outage == 1


@pytest.mark.usefixtures("story")  # it takes metrics-server three looks, so the time of the story is well used
async def test_processor_time_scales_where_nothing_is_asked(cluster):
    """The larger of the triggers decides: pods at twice the share, and no ask in flight."""
    orchestrator = Scaling(cluster.kubernetes, "orchestrator", "orchestrator")
    await cluster.until(lambda: at_least(orchestrator, 3), shipped_s=20 * UP_S)
    assert await orchestrator.asked_per_replica(0) == "0"


async def test_the_model_sleeps_again_when_nobody_wants_it_and_an_outage_wakes_it(cluster, story):
    """KEDA takes a fallback for activity, so that whoever sleeps when the metrics go is woken: dear, and safe."""
    model = Scaling(cluster.kubernetes, "triton", "triton-predictor")
    await cluster.until(lambda: is_at(model, 0), shipped_s=4 * WINDOW_S)
    await cluster.prometheus.stop()
    await cluster.until(lambda: is_at(model, 1), shipped_s=120)


def size_at(story, at):
    """Replicas at a moment."""
    older = [size.replicas for size in story.sizes if size.at <= at]
    return older[-1] if older else 1
