"""Nothing in an overlay names what is not there: the original's pods waited for ConfigMaps that nothing created."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator

import pytest

from tests.deploy.documents import DEPLOY, Document, built, containers, one, pod_spec

OVERLAYS = ("kind", "gke")
SECRETS = {
    (namespace, name)
    for namespace, names in runpy.run_path(str(DEPLOY / "scripts" / "make_secrets.py"))["SECRETS"].items()
    for name in names
}
SYSTEM_CLASSES = {"system-cluster-critical", "system-node-critical"}
# What is made by others: KServe's storage initializer and Deployment, Kubernetes itself.
MADE_ELSEWHERE = {("apps/v1", "Deployment", "triton-predictor")}


def workloads(documents: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    for document in documents:
        spec = pod_spec(document)
        if spec is not None:
            yield document["metadata"]["namespace"], document, spec


def labels_of(document: Document) -> dict[str, str]:
    """Of a workload's pods."""
    if document["kind"] == "InferenceService":  # KServe puts its own labels on them
        found: dict[str, str] = document["metadata"]["labels"]
        return found
    spec = document["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]
    labels: dict[str, str] = template["metadata"]["labels"]
    return labels


def pods_of(overlay: str) -> list[tuple[str, dict[str, str]]]:
    """(namespace, labels) of every kind of pod there will be."""
    return [
        (document["metadata"]["namespace"], labels_of(document))
        for document in built(DEPLOY / "overlays" / overlay)
        if document["kind"] in {"Deployment", "StatefulSet", "Job", "CronJob", "InferenceService"}
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_a_pod_mounts_reads_or_runs_as_exists(overlay):
    documents = built(DEPLOY / "overlays" / overlay)
    there = {(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in documents}
    for namespace, document, spec in workloads(documents):
        where = f"{document['kind']} {document['metadata']['name']}"
        text = str(spec)
        for name in re.findall(r"'configMap(?:Ref)?': \{'name': '([\w-]+)'", text):
            assert ("ConfigMap", namespace, name) in there, f"{where}: no ConfigMap {name}"
        for name in re.findall(r"'secretName': '([\w-]+)'|'secretKeyRef': \{'key': '[^']+', 'name': '([\w-]+)'", text):
            assert (namespace, "".join(name)) in SECRETS, f"{where}: nobody makes the Secret {name}"
        if "serviceAccountName" in spec:
            assert ("ServiceAccount", namespace, spec["serviceAccountName"]) in there, where
        if "priorityClassName" in spec:
            assert ("PriorityClass", None, spec["priorityClassName"]) in there, where
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
        for container in containers(document):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, where


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_selects_something(overlay):
    pods = pods_of(overlay)
    for document in built(DEPLOY / "overlays" / overlay):
        spec, metadata = document.get("spec") or {}, document["metadata"]
        match document["kind"]:
            case "Service":
                wanted = spec["selector"]
            case "PodDisruptionBudget" | "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication":
                wanted = spec.get("selector", {}).get("matchLabels", {})
            case "Sidecar":
                wanted = spec.get("workloadSelector", {}).get("labels", {})
            case _:
                continue
        kept = [labels for place, labels in pods if place == metadata["namespace"] and wanted.items() <= labels.items()]
        is_of_elsewhere = metadata["name"] in ABSENT[overlay]
        assert kept or is_of_elsewhere, f"{document['kind']} {metadata['name']} selects nothing: {wanted}"


# Rules for pods that the overlay has none of: no model in KinD, no stores on GKE. They wait, and harm nobody.
ABSENT = {
    "kind": {"triton", "triton-control", "triton-metrics", "triton-metrics-port"},
    "gke": {"weaviate", "opensearch", "redis"},
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_scaler_and_route_has_its_target(overlay):
    documents = built(DEPLOY / "overlays" / overlay)
    there = {(d["apiVersion"], d["kind"], d["metadata"]["name"]) for d in documents} | MADE_ELSEWHERE
    hosts = {
        f"{d['metadata']['name']}.{d['metadata']['namespace']}.svc.cluster.local": {
            p["port"] for p in d["spec"]["ports"]
        }
        for d in documents
        if d["kind"] == "Service"
    }
    for document in documents:
        if document["kind"] == "ScaledObject":
            target = document["spec"]["scaleTargetRef"]
            assert (target["apiVersion"], target["kind"], target["name"]) in there
        if document["kind"] == "VirtualService" and document["metadata"]["name"] not in ABSENT[overlay]:
            for route in document["spec"]["http"]:
                for part in route.get("route", []):
                    destination = part["destination"]
                    assert destination["port"]["number"] in hosts[destination["host"]]
    for told in re.findall(r"[\w-]+\.(?:rag|observability)\.svc\.cluster\.local:\d+", str(documents)):
        host, _, port = told.rpartition(":")
        is_absent = host.partition(".")[0] in ABSENT[overlay]
        assert is_absent or int(port) in hosts[host], f"{told} is dialled and served nowhere"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whom_the_mesh_lets_through_the_network_lets_through(overlay):
    documents = built(DEPLOY / "overlays" / overlay)
    for policy in (d for d in documents if d["kind"] == "AuthorizationPolicy" and d["spec"].get("action") == "ALLOW"):
        callee = next(iter(policy["spec"]["selector"]["matchLabels"].values()))
        for rule in policy["spec"]["rules"]:
            callers = [
                p.rpartition("/")[2] for s in rule.get("from", []) for p in s["source"]["principals"] if "/rag/" in p
            ]
            ports = {int(port) for to in rule["to"] for port in to["operation"].get("ports", [])}
            for caller in set(callers) - {"askmesh-istio"}:  # the Gateway API's door, known by another label
                allowed = one(documents, "NetworkPolicy", callee)["spec"]["ingress"] if has(documents, callee) else []
                assert allowed == [] or ports <= opened(allowed, "from", caller), f"{caller} -> {callee}"
                leaving = one(documents, "NetworkPolicy", caller)["spec"].get("egress", [])
                assert ports <= opened(leaving, "to", callee), f"{caller} -> {callee} may not leave"


def has(documents: list[Document], policy: str) -> bool:
    """False for a store that is outside here."""
    return any(d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == policy for d in documents)


def opened(rules: list[Document], side: str, app: str) -> set[int]:
    """The ports that rules open from or to an app's pods of the namespace."""
    return {
        port["port"]
        for rule in rules
        for peer in rule[side]
        if app in peer.get("podSelector", {}).get("matchLabels", {}).values() and "namespaceSelector" not in peer
        for port in rule["ports"]
    }


def test_every_port_that_prometheus_scrapes_takes_plaintext_for_that_and_no_other_does():
    documents = built(DEPLOY / "overlays" / "gke")
    scraped = {
        port["containerPort"]
        for document in documents
        if document["metadata"].get("namespace") == "rag"
        for container in containers(document)
        for port in container.get("ports", [])
        if port["name"] == "http-metrics"
    }
    opened_ports = {
        int(port): mode["mode"]
        for document in documents
        if document["kind"] == "PeerAuthentication"
        for port, mode in document["spec"].get("portLevelMtls", {}).items()
    }
    assert opened_ports == dict.fromkeys(scraped, "PERMISSIVE")
    unauthenticated = {
        int(port): to["operation"]["paths"]
        for document in documents
        if document["kind"] == "AuthorizationPolicy" and document["spec"].get("action") == "ALLOW"
        for rule in document["spec"]["rules"]
        if "from" not in rule
        for to in rule["to"]
        for port in to["operation"]["ports"]
    }
    assert unauthenticated == {port: ["/metrics"] for port in scraped}


def test_whoever_acts_as_an_account_of_googles_is_bound_to_it_by_what_the_page_says():
    page = (DEPLOY / "README.md").read_text()
    told = set(re.findall(r"^bind ([\w-]+) [A-Z-]+ roles/", page, re.MULTILINE))
    accounts = {
        document["metadata"]["name"]: account
        for document in built(DEPLOY / "overlays" / "gke")
        if document["kind"] == "ServiceAccount"
        and (account := document["metadata"].get("annotations", {}).get("iam.gke.io/gcp-service-account"))
    }
    assert set(accounts) == told == {"ingest", "triton"}
    for name, account in accounts.items():
        assert account.startswith(f"askmesh-{name}@"), "the page makes askmesh-NAME"
