"""The objects the rig writes for a workload of a mesh: see mesh.py, which says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from askmesh.rig.kube_client import KubeClient, Object

ROOT_NAMESPACE = "istio-system"
NETWORKING = "networking.istio.io/v1"
SLOT_LABEL = "rig.askmesh/slot"  # on a workload: which of the rig's Sidecars is its own
SLOTS = 40  # workloads that one mesh can have in its life
EVERYTHING = ("*/*",)


@dataclass(frozen=True, slots=True)
class Workload:
    """One replica, as its pod would be.

    Attributes:
        labels: Of the pod; a Service selects by them.
        ports: By the name its container gives them: "grpc-api" -> 50051.
    """

    name: str
    labels: Mapping[str, str]
    namespace: str
    service_account: str = "default"
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses of a workload: its own, and its sidecar's for calls going out."""

    address: str
    outbound: str
    slot: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a workload may call, by the Sidecar that the applied ones give it."""

    hosts: Sequence[str] = EVERYTHING
    policy: Mapping[str, Any] = field(default_factory=lambda: {"mode": "REGISTRY_ONLY"})


def slots() -> Iterator[str]:
    return (f"{number:02}" for number in range(SLOTS))


def labels_of(workload: Workload, place: Place) -> Mapping[str, str]:
    """Its labels and the rig's; a pod with a sidecar gets the second from Istio's injector."""
    return {**workload.labels, SLOT_LABEL: place.slot, "security.istio.io/tlsMode": "istio"}


def entry(workload: Workload, place: Place) -> Object:
    """The workload in istiod's registry."""
    spec = {
        "address": place.address,
        "labels": labels_of(workload, place),
        "serviceAccount": workload.service_account,
        "ports": dict(workload.ports),
    }
    return _object("WorkloadEntry", workload.name, workload.namespace, spec)


def unused(slot: str, namespace: str) -> Object:
    """A Sidecar of a workload that is not there yet."""
    return _sidecar(slot, namespace, {"egress": [{"hosts": ["~/*"]}]})


def twin(workload: Workload, place: Place, scope: Scope, targets: Mapping[str, str]) -> Object:
    """The Sidecar of a workload, with its scope and bound listeners.

    Args:
        targets: Where its process listens, by port name; ports without one are not opened.
    """
    ingress = [
        {
            "port": {"number": workload.ports[name], "name": name, "protocol": _protocol(name)},
            "bind": place.address,
            "captureMode": "NONE",
            "defaultEndpoint": target,
        }
        for name, target in targets.items()
    ]
    egress = {"bind": place.outbound, "captureMode": "NONE", "hosts": list(scope.hosts)}
    spec: dict[str, Any] = {"egress": [egress], "outboundTrafficPolicy": dict(scope.policy)}
    return _sidecar(place.slot, workload.namespace, spec | ({"ingress": ingress} if ingress else {}))


async def scope_of(client: KubeClient, workload: Workload) -> Scope:
    """By istiod's rule: the oldest that selects it, else its namespace's, else the mesh's."""
    own = await _applied(client, workload.namespace)
    chosen = [each for each in own if _selects(each, workload.labels)]
    chosen += [each for each in own if "workloadSelector" not in each["spec"]]
    chosen += await _applied(client, ROOT_NAMESPACE)
    if not chosen:
        return Scope()
    spec = chosen[0]["spec"]
    hosts = [host for listener in spec.get("egress", ()) for host in listener["hosts"]]
    return Scope(tuple(dict.fromkeys(hosts)) or EVERYTHING, spec.get("outboundTrafficPolicy", {"mode": "ALLOW_ANY"}))


async def _applied(client: KubeClient, namespace: str) -> list[Any]:
    """The Sidecars that are not the rig's, oldest first."""
    found = await client.get(f"/apis/{NETWORKING}/namespaces/{namespace}/sidecars")
    others = [each for each in found["items"] if SLOT_LABEL not in each["metadata"].get("labels", {})]
    return sorted(others, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))


def _selects(sidecar: Object, labels: Mapping[str, str]) -> bool:
    selector = sidecar["spec"].get("workloadSelector")
    return selector is not None and selector.get("labels", {}).items() <= labels.items()


def _sidecar(slot: str, namespace: str, spec: Mapping[str, Any]) -> Object:
    found = _object("Sidecar", f"rig-{slot}", namespace, {"workloadSelector": {"labels": {SLOT_LABEL: slot}}, **spec})
    return {**found, "metadata": {**found["metadata"], "labels": {SLOT_LABEL: slot}}}


def _object(kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": NETWORKING,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _protocol(port: str) -> str:
    """By the name, as Istio reads names of ports."""
    prefix = port.partition("-")[0]
    return {"grpc": "GRPC", "http": "HTTP"}.get(prefix, "TCP")
