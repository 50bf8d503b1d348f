"""Every pod of ours is let into a namespace that enforces the restricted standard, by the API's own admission."""

from __future__ import annotations

import copy
import json

import pytest

from askmesh.rig.kubernetes import KubectlFailed, Kubernetes
from tests.deploy.documents import DEPLOY, Document, built, one, pod_spec

FIRST = ("Namespace", "PriorityClass", "ServiceAccount")  # what a pod needs to be there


def pods(overlay: str) -> list[Document]:
    """One of each kind of pod, as its controller would make it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": document["metadata"]["name"], "namespace": document["metadata"]["namespace"]},
            "spec": {**with_volumes(document, spec), "containers": spec["containers"]},
        }
        for document in built(DEPLOY / "overlays" / overlay)
        if (spec := pod_spec(document)) is not None and document["kind"] != "ServingRuntime"
    ]


def with_volumes(document: Document, spec: Document) -> Document:
    """A StatefulSet's claims become its pods' volumes."""
    claims = document["spec"].get("volumeClaimTemplates", [])
    made = [{"name": c["metadata"]["name"], "persistentVolumeClaim": {"claimName": "made"}} for c in claims]
    return {**spec, "volumes": [*spec.get("volumes", []), *made]}


def served(overlay: str) -> Document:
    """What KServe makes of the InferenceService and its ServingRuntime, less its own init container."""
    documents = built(DEPLOY / "overlays" / overlay)
    runtime = one(documents, "ServingRuntime", "triton-tensorrtllm")["spec"]
    predictor = one(documents, "InferenceService", "triton")["spec"]["predictor"]
    own = {name: value for name, value in predictor.items() if name != "model"}
    spec = {**own, "containers": runtime["containers"], "volumes": runtime["volumes"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "triton", "namespace": "rag"}, "spec": spec}


async def prepared(kubernetes: Kubernetes, overlay: str) -> None:
    for kind in FIRST:  # namespaces before what is in them
        wanted = [d for d in built(DEPLOY / "overlays" / overlay) if d["kind"] == kind]
        await kubernetes.apply("\n---\n".join(map(json.dumps, wanted)))


async def admitted(kubernetes: Kubernetes, *wanted: Document) -> str:
    text = "\n---\n".join(map(json.dumps, wanted))
    return await kubernetes.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


@pytest.mark.parametrize("overlay", ["kind", "gke"])
async def test_every_pod_is_admitted(kubernetes, overlay):
    await prepared(kubernetes, overlay)
    wanted = [*pods(overlay), *([served(overlay)] if overlay == "gke" else [])]
    said = await admitted(kubernetes, *wanted)
    assert len(said.splitlines()) == len(wanted) >= 7


@pytest.mark.parametrize(
    ("where", "wrong", "said"),
    [
        ("spec", {"hostNetwork": True}, "host namespaces"),
        ("spec", {"securityContext": {"runAsUser": 0}}, "runAsNonRoot"),
        ("container", {"securityContext": {"privileged": True}}, "privileged"),
        ("container", {"securityContext": {"capabilities": {"drop": []}}}, "unrestricted capabilities"),
    ],
)
async def test_a_pod_that_may_more_is_refused(kubernetes, where, wrong, said):
    await prepared(kubernetes, "kind")
    pod = copy.deepcopy(next(each for each in pods("kind") if each["metadata"]["name"] == "retriever"))
    (pod["spec"] if where == "spec" else pod["spec"]["containers"][0]).update(wrong)
    with pytest.raises(KubectlFailed, match=said):
        await admitted(kubernetes, pod)
