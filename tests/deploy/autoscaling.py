"""A cluster in small that scales: KEDA, the HPA controller and a Prometheus are real, so are the services it looks at,
and only the pods are nobody's (kwok).

Everything of the manifests that is a time can be made shorter by one factor. 15 makes the HPA look every second, which
is as often as it can: then scrapes, lookbacks, polls and periods all stand to each other as in the manifests. The
windows may be shorter still, for they are only waited for; they must stay longer than the lookbacks.
"""

from __future__ import annotations

import copy
import datetime
import re
from dataclasses import dataclass

from askmesh.rig.kubernetes import Kubernetes
from askmesh.rig.kwok import NODE
from tests.deploy.documents import DEPLOY, Document, read

SCRAPE_S = 15  # deploy/observability's scrape_interval, and the HPA controller's default period
SCALED = {
    "retriever": DEPLOY / "scaling" / "scaledobject-retriever.yaml",
    "orchestrator": DEPLOY / "scaling" / "scaledobject-orchestrator.yaml",
    "triton": DEPLOY / "triton" / "kserve" / "scaledobject.yaml",
}
_LOOKBACK = re.compile(r"\[(\d+)(s|m)\]")


@dataclass(frozen=True, slots=True)
class Pace:
    """How many times faster than the manifests say; at 1 they are as shipped, but for Prometheus' address."""

    factor: int
    window_factor: int

    def seconds(self, shipped: int) -> int:
        return max(1, shipped // self.factor)

    def window(self, shipped: int) -> int:
        return shipped // self.window_factor

    def scaled_object(self, name: str, prometheus: str) -> Document:
        """One of ours, that asks this Prometheus."""
        (document,) = read(SCALED[name])
        found = copy.deepcopy(document)
        spec = found["spec"]
        if "pollingInterval" in spec:  # failures are so many polls
            patience = spec["fallback"]["failureThreshold"] * spec["pollingInterval"]
            spec["pollingInterval"] = self.seconds(spec["pollingInterval"])
            spec["fallback"]["failureThreshold"] = self.seconds(patience) // spec["pollingInterval"]
        if "cooldownPeriod" in spec:
            spec["cooldownPeriod"] = self.seconds(spec["cooldownPeriod"])
        for rules in spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].values():
            rules["stabilizationWindowSeconds"] = self.window(rules["stabilizationWindowSeconds"])
            for policy in rules["policies"]:
                policy["periodSeconds"] = self.seconds(policy["periodSeconds"])
        for trigger in spec["triggers"]:
            self._pace_trigger(trigger["type"], trigger["metadata"], prometheus)
        return found

    def _pace_trigger(self, kind: str, metadata: dict[str, str], prometheus: str) -> None:
        if kind == "prometheus":
            metadata["serverAddress"] = prometheus
            metadata["query"] = _LOOKBACK.sub(self._lookback, metadata["query"])
        elif kind == "cron":  # the same hours, on a day that is not near: it must not depend on when it runs
            day = (datetime.datetime.now(datetime.UTC).isoweekday() + 3) % 7
            for end in ("start", "end"):
                metadata[end] = metadata[end].rpartition(" ")[0] + f" {day}"

    def _lookback(self, found: re.Match[str]) -> str:
        return f"[{self.seconds(int(found[1]) * {'s': 1, 'm': 60}[found[2]])}s]"


def trigger(document: Document, name: str) -> dict[str, str]:
    """What a ScaledObject's trigger asks, and of whom."""
    (found,) = [each for each in document["spec"]["triggers"] if each.get("name") == name]
    metadata: dict[str, str] = found["metadata"]
    return metadata


def fake_deployment(name: str, cpu: str) -> Document:
    """A Deployment of deploy/base whose pods are kwok's, and use so much processor time."""
    (document,) = read(DEPLOY / "base" / f"deployment-{name}.yaml")
    found = copy.deepcopy(document)
    template = found["spec"]["template"]
    template["metadata"].setdefault("annotations", {})["kwok.x-k8s.io/usage-cpu"] = cpu
    template["spec"]["nodeName"] = NODE
    return found


def sleeping_model() -> Document:
    """The Deployment that KServe's controller makes of our InferenceService, less what nobody looks at here."""
    labels = {"app": "isvc.triton-predictor"}
    container = {
        "name": "kserve-container",
        "image": "triton",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"nodeName": NODE, "containers": [container], "securityContext": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "triton-predictor", "namespace": "rag"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@dataclass(frozen=True, slots=True)
class Size:
    """Attributes:
    at: In seconds of Unix time, whole ones.
    """

    at: float
    replicas: int

    @classmethod
    def of(cls, event: Document) -> Size:
        """From the event "New size: 5; reason: ..."."""
        at = datetime.datetime.fromisoformat(event["firstTimestamp"]).timestamp()
        return cls(at, int(event["message"].split("New size: ")[1].split(";")[0]))


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the API says of one workload and its autoscaler, at any moment."""

    kubernetes: Kubernetes
    scaled: str
    workload: str
    namespace: str = "rag"

    async def replicas(self) -> int:
        """How many are wanted."""
        found = await self.kubernetes.client.get(
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.workload}"
        )
        count: int = found["spec"]["replicas"]
        return count

    async def ready(self) -> int:
        found = await self.kubernetes.client.get(
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.workload}"
        )
        count: int = found["status"].get("readyReplicas", 0)
        return count

    async def condition(self, kind: str) -> str:
        """Of the ScaledObject: True, False, Unknown or nothing yet."""
        path = f"/apis/keda.sh/v1alpha1/namespaces/{self.namespace}/scaledobjects/{self.scaled}"
        found = (await self.kubernetes.client.get(path)).get("status", {}).get("conditions", [])
        return next((each["status"] for each in found if each["type"] == kind), "")

    async def asked_per_replica(self, trigger: int) -> str:
        """What the autoscaler sees of a trigger, by its place among them, as Kubernetes writes quantities."""
        root = f"/apis/autoscaling/v2/namespaces/{self.namespace}"
        found = await self.kubernetes.client.get(f"{root}/horizontalpodautoscalers/keda-hpa-{self.scaled}")
        seen = [each["external"] for each in found["status"].get("currentMetrics") or [] if each["type"] == "External"]
        named = {each["metric"]["name"]: each["current"].get("averageValue", "") for each in seen}
        return next((value for name, value in named.items() if name.startswith(f"s{trigger}-")), "")

    async def sizes(self) -> list[Size]:
        """Every size that the autoscaler gave the workload, in order."""
        selector = f"involvedObject.name=keda-hpa-{self.scaled},reason=SuccessfulRescale"
        path = f"/api/v1/namespaces/{self.namespace}/events?fieldSelector={selector}"
        found = (await self.kubernetes.client.get(path))["items"]
        events = sorted(found, key=lambda each: int(each["metadata"]["resourceVersion"]))
        return [Size.of(each) for each in events]
