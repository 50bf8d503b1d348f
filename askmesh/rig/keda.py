"""KEDA for a Kubernetes API of the rig: its operator, its metrics server and its admission webhooks.

    async with running_kubernetes(a) as kube, running_controllers(kube, b), running_keda(kube, c):
        ...  # a ScaledObject gets an HPA, which reads KEDA's metrics through the API server

It is told what KEDA's own manifests tell it, but that its processes are on the loopback. Two ports know no address but
"all interfaces": the metrics server's own metrics only tell, and the webhooks only judge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from askmesh.rig.aggregation import Group, authority_of
from askmesh.rig.http_probe import answers
from askmesh.rig.kubernetes import Kubernetes
from askmesh.rig.process import HOST, Recipe, Server, running
from askmesh.rig.thin_module import thin_module

VERSION = "2.20.2"
PART = thin_module(
    "keda",
    VERSION,
    used_by="deploy",
    packages=[f"github.com/kedacore/keda/v2/cmd/{name}" for name in ("adapter", "webhooks", "operator")],
)
NAMESPACE: Final = "keda"
METRICS = Group("external.metrics.k8s.io", "v1beta1", "keda-metrics-apiserver", NAMESPACE)
Command = Callable[[Mapping[str, int]], list[str]]


@dataclass(frozen=True, slots=True)
class Keda:
    """Its three processes."""

    operator: Server
    metrics_server: Server
    webhooks: Server


@asynccontextmanager
async def running_keda(kubernetes: Kubernetes, folder: Path) -> AsyncIterator[Keda]:
    """All of it, registered with the API: it answers for external.metrics.k8s.io, and judges ScaledObjects.

    Raises:
        RigMissing: it is not built.  RigFailed: one did not start.
    """
    PART.require()
    await kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    certificates = METRICS.certify(folder / "certificates")
    async with AsyncExitStack() as stack:

        async def start(recipe: Recipe) -> Server:
            return await stack.enter_async_context(running(recipe, folder / recipe.name))

        operator = await start(_operator(kubernetes, certificates))
        metrics_server = await start(_metrics_server(kubernetes, certificates, operator))
        webhooks = await start(_webhooks(kubernetes, certificates))
        await METRICS.register(kubernetes, metrics_server.port, certificates)
        await kubernetes.apply(_judge(webhooks, authority_of(certificates)))
        yield Keda(operator, metrics_server, webhooks)


def _operator(kubernetes: Kubernetes, certificates: Path) -> Recipe:
    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(PART.require() / "operator"), "--leader-elect=false", f"--cert-dir={certificates}"]
        line += [f"--metrics-bind-address={HOST}:{ports['metrics']}", "--zap-log-level=info", "--zap-encoder=console"]
        line += [f"--health-probe-bind-address={HOST}:{ports['health']}"]
        return [*line, f"--metrics-service-bind-address={HOST}:{ports['grpc']}"]

    return _recipe("operator", ["health", "metrics", "grpc"], command, kubernetes)


def _metrics_server(kubernetes: Kubernetes, certificates: Path, operator: Server) -> Recipe:
    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(PART.require() / "adapter"), f"--secure-port={ports['https']}", f"--bind-address={HOST}"]
        line += [f"--port={ports['metrics']}", f"--cert-dir={certificates}"]
        line += [f"--tls-cert-file={certificates}/tls.crt", f"--tls-private-key-file={certificates}/tls.key"]
        for use in ("authentication", "authorization", "lister"):
            line += [f"--{use}-kubeconfig={kubernetes.kubeconfig}"]
        return [*line, f"--metrics-service-address={HOST}:{operator.ports['grpc']}"]

    return _recipe("metrics-server", ["https", "metrics"], command, kubernetes, scheme="https")


def _webhooks(kubernetes: Kubernetes, certificates: Path) -> Recipe:
    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(PART.require() / "webhooks"), f"--cert-dir={certificates}", f"--port={ports['https']}"]
        line += [f"--metrics-bind-address={HOST}:{ports['metrics']}"]
        line += ["--cache-miss-to-direct-client"]  # a workload applied just before its ScaledObject is there
        return [*line, f"--health-probe-bind-address={HOST}:{ports['health']}"]

    return _recipe("webhooks", ["health", "metrics", "https"], command, kubernetes)


def _recipe(name: str, ports: list[str], command: Command, kubernetes: Kubernetes, *, scheme: str = "http") -> Recipe:
    environment = {"KUBECONFIG": str(kubernetes.kubeconfig), "WATCH_NAMESPACE": ""}
    environment |= {"POD_NAMESPACE": NAMESPACE, "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE}
    environment |= {"KEDA_RESTRICT_SECRET_ACCESS": "true"}  # as deploy/scripts/install.sh does
    return Recipe(name, VERSION, ports, command, _is_healthy, environment=environment, scheme=scheme)


def _judge(webhooks: Server, authority: str) -> dict[str, Any]:
    """What makes the API ask the webhooks before it keeps a ScaledObject; silence refuses, unlike in KEDA's own."""
    url = f"https://{HOST}:{webhooks.ports['https']}/validate-keda-sh-v1alpha1-scaledobject"
    rule = {"apiGroups": ["keda.sh"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"]}
    webhook = {
        "name": "vscaledobject.kb.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": url, "caBundle": authority},
        "failurePolicy": "Fail",
        "rules": [{**rule, "resources": ["scaledobjects"]}],
        "sideEffects": "None",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "keda-admission"},
        "webhooks": [webhook],
    }


async def _is_healthy(server: Server) -> bool:
    return await answers(f"{server.url}/healthz")
