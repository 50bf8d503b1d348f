"""The patch that install.sh puts on metrics-server in KinD, on a real API: what it keeps, and what it changes."""

from __future__ import annotations

from askmesh.rig.kubernetes import Kubernetes
from tests.deploy.documents import Document
from tests.deploy.machine import Machine

NAME = "metrics-server"
IMAGE = "example/metrics-server:v0.9.0"
LABELS = {"k8s-app": NAME}


def released() -> Document:
    """A Deployment of the release's shape."""
    container = {
        "name": NAME,
        "image": IMAGE,
        "args": ["--cert-dir=/tmp", "--secure-port=10250", "--metric-resolution=15s"],
        "ports": [{"containerPort": 10250, "name": "https", "protocol": "TCP"}],
        "securityContext": {"readOnlyRootFilesystem": True, "runAsUser": 1000},
        "volumeMounts": [{"mountPath": "/tmp", "name": "tmp-dir"}],
    }
    spec = {"containers": [container], "volumes": [{"name": "tmp-dir", "emptyDir": {}}]}
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": "kube-system", "labels": LABELS},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template},
    }


def patch_of(machine: Machine) -> list[str]:
    """kubectl's arguments, as install.sh gives them."""
    assert machine.run("install.sh", "kind", RELEASES="https://mirror.example").returncode == 0
    [arguments] = [record["argv"][1:] for record in machine.records() if "patch" in record["argv"]]
    found: list[str] = arguments
    return found


async def container(kubernetes: Kubernetes) -> Document:
    stored = await kubernetes.client.get(f"/apis/apps/v1/namespaces/kube-system/deployments/{NAME}")
    [only] = stored["spec"]["template"]["spec"]["containers"]
    found: Document = only
    return found


async def test_kubelets_that_sign_their_own_certificates_are_believed_and_nothing_else_changes(kubernetes, tmp_path):
    await kubernetes.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    await kubernetes.apply(released())
    before = await container(kubernetes)
    patch = patch_of(Machine(tmp_path))
    try:
        for _ in range(2):  # as every script, it may be run again
            await kubernetes.kubectl(*patch)
            after = await container(kubernetes)
            assert "--kubelet-insecure-tls" in after.pop("args")
            assert after == {name: value for name, value in before.items() if name != "args"}
    finally:
        await kubernetes.kubectl("delete", "deployment", NAME, "--namespace", "kube-system")
