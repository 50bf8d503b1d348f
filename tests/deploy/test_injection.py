"""Pods as Istio's injection leaves them: what istio/mesh installs must make them fit for the restricted standard."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from askmesh.rig import istio
from askmesh.rig.kubernetes import KubectlFailed, Kubernetes
from tests.deploy.documents import ISTIO, Document, one, parsed
from tests.deploy.test_pods import admitted, pods, prepared, served
from tests.rig import missing

INSTALL = ISTIO / "mesh" / "install.yaml"
LIMIT_S = 100.0


def istioctl(*arguments: str, kubeconfig: Path | None = None, home: Path) -> str:
    found = istio.ISTIOCTL.find() or missing(istio.ISTIOCTL.name)
    environment = {"HOME": str(home), "KUBECONFIG": str(kubeconfig or home / "none")}
    done = subprocess.run(
        [str(found / "istioctl"), *arguments],
        env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(folder: Path, *options: str) -> list[Document]:
    """What `istioctl install -f istio/mesh/install.yaml` puts into a cluster."""
    return parsed(istioctl("manifest", "generate", "-f", str(INSTALL), *options, home=folder))


def injected(folder: Path, kubernetes: Kubernetes, wanted: list[Document], *options: str) -> list[Document]:
    """The pods with what that installation's injector adds."""
    manifests = installed(folder, *options)
    injector, mesh = (one(manifests, "ConfigMap", name)["data"] for name in ("istio-sidecar-injector", "istio"))
    given = {"template": injector["config"], "values": injector["values"], "mesh": mesh["mesh"]}
    given["pods"] = "\n---\n".join(map(json.dumps, wanted))
    for name, text in given.items():
        (folder / name).write_text(text)
    line = ["kube-inject", "--revision", "default", "--injectConfigFile", str(folder / "template")]
    line += [
        "--valuesFile",
        str(folder / "values"),
        "--meshConfigFile",
        str(folder / "mesh"),
        "-f",
        str(folder / "pods"),
    ]
    return parsed(istioctl(*line, kubeconfig=kubernetes.kubeconfig, home=folder))


def everything(overlay: str) -> list[Document]:
    return [*pods(overlay), *([served(overlay)] if overlay == "gke" else [])]


def in_rag(documents: list[Document]) -> list[Document]:
    """The namespace that injects."""
    return [each for each in documents if each["metadata"]["namespace"] == "rag"]


def names(pod: Document) -> list[str]:
    spec: dict[str, Any] = pod["spec"]
    return [each["name"] for each in [*spec.get("initContainers", []), *spec["containers"]]]


@pytest.mark.parametrize("overlay", ["kind", "gke"])
async def test_every_pod_is_admitted_with_its_proxy(kubernetes, tmp_path, overlay):
    await prepared(kubernetes, overlay)
    wanted = in_rag(everything(overlay))

    meshed = injected(tmp_path, kubernetes, wanted)

    assert len(meshed) == len(wanted) >= 4
    assert all("istio-proxy" in names(pod) and "istio-init" not in names(pod) for pod in meshed)
    assert len((await admitted(kubernetes, *meshed)).splitlines()) == len(wanted)


async def test_without_the_plugin_every_meshed_pod_is_refused(kubernetes, tmp_path):
    await prepared(kubernetes, "kind")
    wanted = in_rag(everything("kind"))[:1]

    [meshed] = injected(tmp_path, kubernetes, wanted, "--set", "components.cni.enabled=false")

    assert "istio-init" in names(meshed)
    with pytest.raises(KubectlFailed, match="istio-init"):
        await admitted(kubernetes, meshed)


@pytest.mark.parametrize("platform", ["", "gke"])
def test_a_node_agent_redirects_traffic_on_every_node(tmp_path, platform):
    options = ["--set", f"values.global.platform={platform}"] if platform else []
    manifests = installed(tmp_path, *options)

    agent = one(manifests, "DaemonSet", "istio-cni-node")

    spec = agent["spec"]["template"]["spec"]
    assert agent["metadata"]["namespace"] == "istio-system"
    assert spec["tolerations"][0] == {"effect": "NoSchedule", "operator": "Exists"}  # tainted nodes too: GPUs, spot
    # GKE lets this class into other namespaces than kube-system only with a quota that names it.
    assert spec["priorityClassName"] == "system-node-critical"
    quotas = [
        each["spec"]["scopeSelector"]["matchExpressions"][0] for each in manifests if each["kind"] == "ResourceQuota"
    ]
    named = [each["values"] for each in quotas if each["scopeName"] == "PriorityClass"]
    assert (["system-node-critical"] in named) is (platform == "gke")
