"""A real kube-apiserver, with the definitions of everything we use, takes every manifest, and would not take others."""

from __future__ import annotations

import pytest

from askmesh.rig.kubernetes import KubectlFailed, Kubernetes
from tests.deploy.documents import DEPLOY, ISTIO, kustomized

ROOTS = {
    "istio/base": ISTIO / "base",
    **{f"istio/canary/{weight}": ISTIO / "canary" / str(weight) for weight in (0, 10, 50, 100)},
    "istio/gateway-api": ISTIO / "gateway-api",
    "overlays/kind": DEPLOY / "overlays" / "kind",
    "overlays/gke": DEPLOY / "overlays" / "gke",
    "ingest": DEPLOY / "ingest",
}
STRICT = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-")


async def accepted(kubernetes: Kubernetes, manifests: str) -> str:
    """What the server says when it would store them: everything but the storing is done."""
    for name in ("rag", "observability"):
        await kubernetes.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return await kubernetes.kubectl(*STRICT, stdin=manifests)


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
async def test_the_api_takes_every_manifest(kubernetes, root):
    manifests = kustomized(root)
    applied = await accepted(kubernetes, manifests)
    assert len(applied.splitlines()) == manifests.count("\nkind: ") + manifests.startswith("kind: ")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("retryBudget:", "retryBudgets:", "retryBudgets: field not declared in schema"),
        ("perTryTimeout:", "perTryTimeOut:", "perTryTimeOut: field not declared"),
        ("mode: STRICT", "mode: STRICTEST", 'Unsupported value: "STRICTEST"'),
        ("topologyKey: kubernetes.io/hostname", "topologyKeys: kubernetes.io/hostname", "topologyKey"),
        ("behavior: currentReplicasIfHigher", "behaviour: currentReplicasIfHigher", "behaviour: field not declared"),
        ("terminationGracePeriodSeconds: 60", 'terminationGracePeriodSeconds: "60"', "terminationGracePeriodSeconds"),
    ],
)
async def test_the_api_refuses_a_typo(kubernetes, right, wrong, said):
    manifest = next(each for each in kustomized(ROOTS["overlays/kind"]).split("\n---\n") if right in each)
    await accepted(kubernetes, manifest)
    with pytest.raises(KubectlFailed, match=said):
        await accepted(kubernetes, manifest.replace(right, wrong))
