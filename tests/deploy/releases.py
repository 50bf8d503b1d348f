"""A cluster in which Argo Rollouts releases our services: what of deploy/overlays/gke a release touches, on a real
Kubernetes API with its controllers, the real Rollouts controller, and a real Prometheus with our job.

    pods (tests.deploy.kubelet) are real processes <- calls (tests.deploy.door), as weights and selectors say
    Prometheus scrapes them, labelled as in a cluster <- the controller's analyses ask it

Only durations, intervals and counts are shorter than in the manifests (`hastened`): a test is over in seconds. With
CAMPAIGN=1 they are the manifests' own, and the tests take the better part of an hour.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import retriever.app
from askmesh.client import AsyncClient
from askmesh.documents import DocumentFile
from askmesh.rig.controllers import running_rollouts
from askmesh.rig.kubernetes import Kubernetes, running_controllers, running_kubernetes
from askmesh.rig.process import Server
from askmesh.rig.prometheus import running_prometheus
from askmesh.rig.services import running_service
from chassis.settings import load
from chassis.telemetry import Telemetry
from retriever.settings import RetrieverSettings
from tests.deploy.documents import DEPLOY, Document, built, one
from tests.deploy.door import NAMESPACE
from tests.deploy.kubelet import HASH, LOOK_S, Kubelet, running_kubelet, settings_of
from tests.deploy.scraping import discovering
from tests.faults.processes import IS_CAMPAIGN
from tests.rig_servers import rigged

LEASE = DocumentFile("lease.md", "# Leases\n\nA lease lasts 30 seconds. The purger removes dead versions.")
SCRAPED_EVERY = "15s" if IS_CAMPAIGN else "1s"
# What shortens a release: by field, from the manifests' value to the test's. With CAMPAIGN=1 nothing does.
_HASTE: Mapping[str, Mapping[object, object]] = {
    # Five minutes hold more looks than the failures that end a release, and so do these eight seconds. Prometheus takes
    # up to five to look for new pods.
    "duration": {"1m": "4s", "2m": "2s", "5m": "8s"},
    "interval": {"30s": "1s"},
    "initialDelay": {"60s": "1s", "120s": "6s"},
    "failureLimit": {7: 9},
    "count": {10: 6},
    "inconclusiveLimit": {5: 4},
    "scaleDownDelaySeconds": {60: 2, 600: 30},
}
HASTE: Mapping[str, Mapping[object, object]] = {} if IS_CAMPAIGN else _HASTE
ENDED_S = 1_800.0 if IS_CAMPAIGN else 120.0  # 10 to 20 s in quiet; a promotion as it is shipped 14 minutes
# Settings of the processes that the rig has its own ways for: no ConfigMaps, no stores but the embedded ones. What is
# tested is what a release is judged on, not how fast a busy machine is.
PATIENCE = {"ASKMESH_LOG_LEVEL": "warning", "ASKMESH_DRAIN_S": "2"}
_ARGO = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}"
_ALWAYS = {"Namespace": (NAMESPACE,), "PriorityClass": ("askmesh-serving",)}
_KINDS = ("Deployment", "Service", "VirtualService", "DestinationRule", "Rollout")


@dataclass(frozen=True, slots=True)
class Cluster:
    """It runs.

    Attributes:
        retriever: The one that orchestrators ask; no pod.
    """

    kubernetes: Kubernetes
    prometheus: Server
    rollouts: Server
    retriever: Server
    kubelet: Kubelet

    async def install(self, app: str, settings: Mapping[str, str], *, later: Iterable[Mapping[str, str]]) -> None:
        """Apply a service's objects, its first release with these settings, and return when it is healthy.

        Args:
            later: Of releases that may follow.
        """
        template = one(manifests(app), "Deployment", app)["spec"]["template"]["spec"]
        for each in (settings, *later):
            self.kubelet.prepare(app, settings_of(template) | dict(each))
        documents = [hastened(each) for each in manifests(app)]
        await self.kubernetes.apply(*[each for each in documents if each["kind"] != "Rollout"])
        await self._set(app, settings)
        await self.kubernetes.apply(*[each for each in documents if each["kind"] == "Rollout"])
        await self.until(app, lambda rollout: phase_of(rollout) == "Healthy")

    async def release(self, app: str, settings: Mapping[str, str]) -> str:
        """Change the Deployment's settings, as who releases a version does; the hash of the new pods."""
        before = (await self.rollout(app))["status"]["currentPodHash"]
        await self._set(app, settings)
        after = await self.until(app, lambda rollout: rollout["status"]["currentPodHash"] != before)
        found: str = after["status"]["currentPodHash"]
        return found

    async def rollout(self, app: str) -> Document:
        found: Document = await self.kubernetes.client.get(f"{_ARGO}/rollouts/{app}")
        return found

    async def until(self, app: str, holds: Callable[[Document], bool]) -> Document:
        """The Rollout, once it is so."""
        rollout: Document = {}
        try:
            async with asyncio.timeout(ENDED_S):
                while not holds(rollout := await self.rollout(app)):  # noqa: ASYNC110  # a watch is no simpler
                    await asyncio.sleep(LOOK_S)
        except (TimeoutError, KeyError):
            raise AssertionError(f"{app} came to {rollout.get('status')}") from None
        return rollout

    async def analyses(self, release: str) -> list[Document]:
        """The AnalysisRuns that judged a release, in order."""
        found = await self.kubernetes.client.get(f"{_ARGO}/analysisruns?labelSelector={HASH}={release}")
        return sorted(found["items"], key=lambda each: each["metadata"]["creationTimestamp"])

    async def _set(self, app: str, settings: Mapping[str, str]) -> None:
        env = [{"name": name, "value": value} for name, value in settings.items()]
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": app, "namespace": NAMESPACE},
            "spec": {"template": {"spec": {"containers": [{"name": app, "env": env}]}}},
        }
        await self.kubernetes.client.apply(deployment)


def phase_of(rollout: Document) -> str:
    """Of the spec as it is now, not of an earlier one."""
    status = rollout.get("status", {})
    if status.get("observedGeneration") != str(rollout["metadata"]["generation"]):
        return "Unobserved"
    found: str = status.get("phase", "Unobserved")
    return found


def manifests(app: str) -> list[Document]:
    """What a release of a service touches, of the overlay with Rollouts in it."""
    own = (app, f"{app}-preview")
    return [
        document
        for document in built(DEPLOY / "overlays" / "gke")
        if document["metadata"]["name"] in _ALWAYS.get(document["kind"], ())
        or (document["kind"] in _KINDS and document["metadata"]["name"] in own)
        or document["kind"] == "AnalysisTemplate"
    ]


def hastened(document: Document) -> Document:
    """The same with shorter times, where it is a Rollout or an AnalysisTemplate."""
    if document["kind"] not in {"Rollout", "AnalysisTemplate"}:
        return document
    found: Document = _hastened(document, "")
    return found


def _hastened(value: Any, name: str) -> Any:
    match value:
        case dict():
            return {key: _hastened(each, key) for key, each in value.items()}
        case list():
            return [_hastened(each, name) for each in value]
        case _:
            return HASTE.get(name, {}).get(value, value)


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Nothing released yet. Ends the test where the rig lacks a part."""
    targets = folder / "targets.json"
    targets.write_text("[]")
    data = await stored(folder / "documents")
    async with AsyncExitStack() as stack:
        asked = running_service("retriever", folder / "retriever", environment=_surroundings("retriever", data))
        retrieving = await stack.enter_async_context(asked)
        kubernetes = await stack.enter_async_context(rigged(lambda: running_kubernetes(folder / "kubernetes")))
        config = discovering(targets, every=SCRAPED_EVERY)
        scraping = rigged(lambda: running_prometheus(folder / "prometheus", config))
        prometheus = await stack.enter_async_context(scraping)

        def surroundings(app: str, own: Path) -> Mapping[str, str]:
            if app == "retriever":  # a data folder is one process's
                shutil.copytree(data, own / "data")
            return _surroundings(app, own / "data", retriever_address=f"{retrieving.host}:{retrieving.port}")

        running = running_kubelet(
            kubernetes, folder / "pods", namespace=NAMESPACE, targets=targets, surroundings=surroundings
        )
        kubelet = await stack.enter_async_context(running)
        await stack.enter_async_context(rigged(lambda: running_controllers(kubernetes, folder / "controllers")))
        controller = rigged(lambda: running_rollouts(kubernetes, folder / "rollouts", prometheus=prometheus))
        rollouts = await stack.enter_async_context(controller)
        yield Cluster(kubernetes, prometheus, rollouts, retrieving, kubelet)


def _surroundings(app: str, data: Path, *, retriever_address: str = "") -> dict[str, str]:
    own = {
        "orchestrator": {"RETRIEVER_ADDRESS": retriever_address, "RETRIEVE_TIMEOUT_MS": "5000"},
        "retriever": {"DATA_FOLDER": str(data), "RETRIEVAL_TIMEOUT_MS": "4000"},
    }
    return PATIENCE | {f"ASKMESH_{app.upper()}_{name}": value for name, value in own[app].items()}


async def stored(folder: Path) -> Path:
    """A retriever's data folder with one document in its collection "docs"."""
    settings = load(RetrieverSettings, listen="127.0.0.1:0", data_folder=folder, drain_s=0.2)
    async with (
        retriever.app.build(settings, telemetry=Telemetry("test")) as running,
        AsyncClient(running.address, collection="docs") as client,
    ):
        assert [result.outcome async for result in client.ingest([LEASE])] == ["STORED"]
    return folder
