"""The Gateway API's door as istiod makes it of istio/gateway-api, and whether our own denials let it be one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from askmesh.rig.istio import running_istiod
from askmesh.rig.kube_client import KubeRefused
from askmesh.rig.kubernetes import Kubernetes, running_kubernetes
from askmesh.rig.process import POLL_S
from tests.deploy.documents import DEPLOY, ISTIO, Document, built, one
from tests.deploy.test_injection import installed
from tests.deploy.test_pods import admitted, prepared
from tests.deploy.test_references import opened
from tests.rig_servers import rigged

pytestmark = pytest.mark.timeout(300)
MADE_S = 120.0  # 3 s in quiet
NAME = "askmesh-istio"


def variant() -> list[Document]:
    return built(ISTIO / "gateway-api")


def policies(kind: str) -> list[Document]:
    """All of this kind that there are beside the variant."""
    documents = [*built(DEPLOY / "overlays" / "kind"), *variant()]
    return [each for each in documents if each["kind"] == kind and each["metadata"]["namespace"] == "rag"]


@dataclass(frozen=True, slots=True)
class Door:
    kubernetes: Kubernetes
    template: Document
    service: Document


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """A real istiod with the installation's injector makes a Deployment and a Service of our Gateway."""
    folder = tmp_path_factory.mktemp("door")
    async with rigged(lambda: running_kubernetes(folder / "kubernetes")) as kubernetes:
        await prepared(kubernetes, "kind")
        await kubernetes.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}})
        injector = one(installed(folder), "ConfigMap", "istio-sidecar-injector")
        await kubernetes.apply(json.dumps(injector))
        async with rigged(lambda: running_istiod(folder / "istiod", kubernetes)):
            await kubernetes.apply(json.dumps(one(variant(), "Gateway", "askmesh")))
            deployment = await made(kubernetes, f"/apis/apps/v1/namespaces/rag/deployments/{NAME}")
            service = await made(kubernetes, f"/api/v1/namespaces/rag/services/{NAME}")
            yield Door(kubernetes, deployment["spec"]["template"], service)


async def made(kubernetes: Kubernetes, path: str) -> Document:
    """What istiod makes, once it has."""
    async with asyncio.timeout(MADE_S):
        while True:
            try:
                found: Document = await kubernetes.client.get(path)
            except KubeRefused as refused:
                if refused.status != 404:
                    raise
                await asyncio.sleep(POLL_S)
            else:
                return found


def of_the_door(door: Door) -> list[Document]:
    """The NetworkPolicies that select its pods; an empty selector selects all."""
    labels = door.template["metadata"]["labels"]
    found = policies("NetworkPolicy")
    return [each for each in found if each["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()]


async def test_its_pod_is_admitted_to_the_namespace(door):
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": door.template["spec"]}
    pod["metadata"] = {"name": "door", "namespace": "rag", "labels": door.template["metadata"]["labels"]}
    assert "created" in await admitted(door.kubernetes, pod)


async def test_anybody_reaches_its_ports_and_it_reaches_the_gateway_and_its_control_plane(door):
    # A Service port without a target is the pod's own.
    public = {port["targetPort"] for port in door.service["spec"]["ports"] if port["name"] != "status-port"}
    incoming = [rule for policy in of_the_door(door) for rule in policy["spec"].get("ingress", [])]
    leaving = [rule for policy in of_the_door(door) for rule in policy["spec"].get("egress", [])]

    assert public == {80, 443}
    assert public <= {port["port"] for rule in incoming if "from" not in rule for port in rule["ports"]}
    assert opened(leaving, "to", "gateway") == {8080}
    assert {53, 15012} <= {port["port"] for rule in leaving for port in rule["ports"]}


async def test_the_gateway_takes_its_calls(door):
    labels = door.template["metadata"]["labels"]
    [incoming] = [
        each["spec"]["ingress"] for each in policies("NetworkPolicy") if each["metadata"]["name"] == "gateway"
    ]
    allowed = one(policies("AuthorizationPolicy"), "AuthorizationPolicy", "gateway")["spec"]["rules"][0]

    peers = [peer for rule in incoming for peer in rule["from"] if {"port": 8080} in rule["ports"]]
    chosen = [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
    assert any(wanted.items() <= labels.items() for wanted in chosen)
    account = door.template["spec"]["serviceAccountName"]
    assert f"cluster.local/ns/rag/sa/{account}" in allowed["from"][0]["source"]["principals"]


async def test_the_mesh_lets_the_public_through_it(door):
    """Istio attaches policies to such a door by targetRefs, and those without a selector too: ours that denies."""
    name = door.template["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"]
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    rules = [
        rule
        for policy in policies("AuthorizationPolicy")
        if target in policy["spec"].get("targetRefs", []) and policy["spec"]["action"] == "ALLOW"
        for rule in policy["spec"]["rules"]
    ]
    assert {port for rule in rules if "from" not in rule for to in rule["to"] for port in to["operation"]["ports"]} == {
        "80",
        "443",
    }
