"""kwok: nodes and pods of a Kubernetes API of the rig that nobody runs, and that are Ready all the same.

    async with running_kwok(kube, folder / "kwok"), running_metrics_server(kube, folder / "metrics-server"):
        ...  # a pod with nodeName "fake" is Running and Ready in a moment, and gone in a moment when it is deleted

What a kubelet would report is in kwok's own files, which come with its module: a pod uses as much processor time as its
annotation kwok.x-k8s.io/usage-cpu says, and metrics-server reads that from kwok as from any kubelet, and answers for
metrics.k8s.io. There is no scheduler: name the node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from askmesh.rig.aggregation import Group
from askmesh.rig.certificates import certify
from askmesh.rig.http_probe import answers
from askmesh.rig.kubernetes import Kubernetes
from askmesh.rig.part import folder_part, go, go_module, go_tool
from askmesh.rig.process import HOST, Recipe, Server, running

VERSION = "0.8.0"
MODULE = f"sigs.k8s.io/kwok@v{VERSION}"
SUM = "h1:OTIOTwgROqPMovcTwxICx2eYQ4AwLpSx5EpjbDKF4SQ="
# Below kustomize/ of the module: what becomes of a node and of a pod, what a pod uses, and how that is asked.
BEHAVIOUR = (
    "stage/node/fast/node-initialize",
    "stage/node/heartbeat/node-heartbeat",
    "stage/pod/fast/pod-ready",
    "stage/pod/fast/pod-delete",
    "metrics/usage/usage-from-annotation",
    "metrics/resource/metrics-resource",
)
METRICS_SERVER = go_tool("metrics-server", "0.9.0", "sigs.k8s.io/metrics-server/cmd/metrics-server", "deploy")
METRICS = Group("metrics.k8s.io", "v1beta1", "metrics-server", "kube-system")
RESOLUTION_S = 10  # metrics-server looks no more often
NODE: Final = "fake"


def make(folder: Path) -> None:
    """kwok, and behaviour/ with what it makes of nodes and pods."""
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
    package = MODULE.replace("@", "/cmd/kwok@")
    subprocess.run([go(), "install", "-ldflags", "-s -w", package], env=environment, check=True)
    (folder / "behaviour").mkdir()
    for name in BEHAVIOUR:
        source = go_module(MODULE, SUM) / "kustomize" / f"{name}.yaml"
        shutil.copyfile(source, folder / "behaviour" / source.name)


PART = folder_part(
    "kwok", VERSION, used_by="deploy", proof="behaviour/metrics-resource.yaml", make=make, is_compiled=True
)


@asynccontextmanager
async def running_kwok(kubernetes: Kubernetes, folder: Path) -> AsyncIterator[Server]:
    """kwok, with one node called NODE. Raises RigMissing."""
    part = PART.require()
    certificates = certify(folder / "certificates", "kwok", addresses=[f"IP:{HOST}"])

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(part / "kwok"), "--kubeconfig", str(kubernetes.kubeconfig), "--manage-all-nodes"]
        for file in sorted((part / "behaviour").iterdir()):
            line += ["--config", str(file)]
        line += ["--node-ip", HOST, "--node-port", str(ports["http"]), "--server-address", f"{HOST}:{ports['http']}"]
        return [*line, f"--tls-cert-file={certificates}/tls.crt", f"--tls-private-key-file={certificates}/tls.key"]

    async with running(Recipe("kwok", VERSION, ["http"], command, _is_healthy), folder) as server:
        # Where metrics-server asks: kwok has more nodes than one.
        path = {"metrics.k8s.io/resource-metrics-path": f"/metrics/nodes/{NODE}/metrics/resource"}
        metadata = {"name": NODE, "annotations": path}
        await kubernetes.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        yield server


@asynccontextmanager
async def running_metrics_server(kubernetes: Kubernetes, folder: Path) -> AsyncIterator[Server]:
    """metrics-server, registered; a pod is in it after two looks, RESOLUTION_S apart. Raises RigMissing."""
    program = METRICS_SERVER.require() / "metrics-server"
    certificates = METRICS.certify(folder / "certificates")

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(program), f"--secure-port={ports['https']}", f"--bind-address={HOST}"]
        line += [f"--tls-cert-file={certificates}/tls.crt", f"--tls-private-key-file={certificates}/tls.key"]
        line += ["--kubelet-use-node-status-port", "--kubelet-insecure-tls", f"--metric-resolution={RESOLUTION_S}s"]
        line += [f"--kubelet-request-timeout={RESOLUTION_S // 2}s"]
        for use in ("", "authentication-", "authorization-"):
            line += [f"--{use}kubeconfig={kubernetes.kubeconfig}"]
        return line

    recipe = Recipe("metrics-server", METRICS_SERVER.version, ["https"], command, _lives, scheme="https")
    async with running(recipe, folder) as server:
        await METRICS.register(kubernetes, server.port, certificates)
        yield server


async def _is_healthy(server: Server) -> bool:
    return await answers(f"{server.url}/healthz")


async def _lives(server: Server) -> bool:
    return await answers(f"{server.url}/livez")
