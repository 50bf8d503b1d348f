"""Controllers that act on a Kubernetes API of the rig, besides Kubernetes' own: Argo Rollouts.

    async with running_kubernetes(folder / "k") as kube, running_controllers(kube, folder / "c"):
        async with running_rollouts(kube, folder / "r"):
            ...  # a Rollout gets ReplicaSets, and these get pods; no node runs them

It runs on free ports, as the API's administrator. Its metrics and health ports know no address but "all interfaces";
they only tell, and take nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from askmesh.rig.http_probe import answers
from askmesh.rig.kubernetes import Kubernetes
from askmesh.rig.process import Recipe, Server, running
from askmesh.rig.thin_module import thin_module

ROLLOUTS = thin_module(
    "argo-rollouts",
    "1.9.0",
    used_by="deploy",
    packages=["github.com/argoproj/argo-rollouts/cmd/rollouts-controller"],
)


def running_rollouts(
    kubernetes: Kubernetes, folder: Path, *, prometheus: Server | None = None
) -> AbstractAsyncContextManager[Server]:
    """The controller of Rollouts and AnalysisRuns.

    Args:
        prometheus: Answers what analyses ask, by whatever name: no DNS here knows a cluster's. It is their HTTP proxy
            instead, and a Prometheus answers a proxy's requests as its own.
    Raises:
        RigMissing: it is not built.
    """
    asked = dict.fromkeys(("HTTP_PROXY", "http_proxy"), prometheus.url) if prometheus is not None else {}
    program = ROLLOUTS.require() / "rollouts-controller"

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(program), "--kubeconfig", str(kubernetes.kubeconfig), "--leader-elect=false", "--loglevel", "info"]
        return [*line, "--healthzPort", str(ports["health"]), "--metricsPort", str(ports["metrics"])]

    ports = ["health", "metrics"]
    recipe = Recipe("argo-rollouts", ROLLOUTS.version, ports, command, _is_healthy, environment=asked)
    return running(recipe, folder)


async def _is_healthy(server: Server) -> bool:
    return await answers(f"{server.url}/healthz")
