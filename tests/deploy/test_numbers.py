"""Numbers and names that the manifests share with the code, or with each other."""

from __future__ import annotations

import re
import runpy

import pytest
from rag.orchestrator.v1 import orchestrator_pb2
from rag.retriever.v1 import retriever_pb2

from askmesh.rig import keda, kwok
from chassis.server import FAREWELL_S, FORCE_S
from chassis.settings import load
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from tests.deploy.documents import DEPLOY, ISTIO, Document, built, containers, files, one, pod_spec, read, seconds

SECRETS = {
    name: keys
    for secrets in runpy.run_path(str(DEPLOY / "scripts" / "make_secrets.py"))["SECRETS"].values()
    for name, keys in secrets.items()
}
SERVICES = ("gateway", "orchestrator", "retriever")
OVERLAYS = ("kind", "gke")
BASE = [document for path in files(DEPLOY / "base") for document in read(path) if document["kind"] != "Kustomization"]


def config(name: str) -> dict[str, str]:
    data: dict[str, str] = one(BASE, "ConfigMap", name)["data"]
    return data


def pods(service: str) -> Document:
    spec = pod_spec(one(BASE, "Deployment", service))
    assert spec is not None
    return spec


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_outlives_its_proxy_and_that_its_service_and_that_the_longest_answer(service):
    mesh = read(ISTIO / "mesh" / "install.yaml")[0]["spec"]["meshConfig"]["defaultConfig"]
    drain_s = float(config("askmesh")["ASKMESH_DRAIN_S"])
    before_s = pods(service)["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    settings = load(OrchestratorSettings)
    answer_s = (settings.generation_timeout_ms + settings.retrieve_timeout_ms) / 1_000
    chain = (
        answer_s,
        drain_s,
        before_s + drain_s + FAREWELL_S + FORCE_S,
        seconds(mesh["terminationDrainDuration"]),
        pods(service)["terminationGracePeriodSeconds"],
    )
    assert sorted(chain) == list(chain)
    assert len(set(chain)) == len(chain)


def test_a_timebox_is_inside_the_next():
    retriever_ms = int(config("retriever")["ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS"])
    orchestrator_ms = int(config("orchestrator")["ASKMESH_ORCHESTRATOR_RETRIEVE_TIMEOUT_MS"])
    virtual = one(read(ISTIO / "base" / "virtualservice-retriever.yaml"), "VirtualService", "retriever")
    tries_ms = {r["retries"]["perTryTimeout"] for r in virtual["spec"]["http"] if r["retries"]["attempts"]}
    (one_try,) = tries_ms
    assert retriever_ms < 1_000 * seconds(one_try) < orchestrator_ms
    assert orchestrator_ms == load(OrchestratorSettings).retrieve_timeout_ms


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_the_same_in_settings_pod_service_and_policy(service):
    container = pods(service)["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    exposed = one(BASE, "Service", service)["spec"]["ports"]
    assert {each["name"]: each["port"] for each in exposed} == ports
    assert ports.pop("http-metrics") == int(config("askmesh")["ASKMESH_METRICS_LISTEN"].rpartition(":")[2])
    ((name, port),) = ports.items()
    listens = config("gateway")["ASKMESH_GATEWAY_PORT"] if service == "gateway" else config(service)[LISTEN[service]]
    assert int(listens.rpartition(":")[2]) == port
    assert name == ("http-rest" if service == "gateway" else "grpc-api")
    policy = one(read(ISTIO / "base" / f"authorizationpolicy-{service}.yaml"), "AuthorizationPolicy", service)
    assert {p for rule in policy["spec"]["rules"] for to in rule["to"] for p in to["operation"]["ports"]} == {str(port)}


LISTEN = {service: f"ASKMESH_{service.upper()}_LISTEN" for service in SERVICES}


def test_every_port_says_which_protocol_it_speaks():
    for overlay in OVERLAYS:
        for document in built(DEPLOY / "overlays" / overlay):
            if document["kind"] == "Service":
                assert all("appProtocol" in port for port in document["spec"]["ports"]), document["metadata"]["name"]


def test_probes_ask_for_services_that_are_served():
    served = {
        "orchestrator": orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"].full_name,
        "retriever": retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"].full_name,
    }
    for service, name in served.items():
        container = pods(service)["containers"][0]
        assert container["readinessProbe"]["grpc"]["service"] == name
        assert "service" not in container["livenessProbe"]["grpc"]  # the process, whatever its dependencies do


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_confined(overlay):
    for document in built(DEPLOY / "overlays" / overlay):
        for container in containers(document):
            where = f"{document['kind']} {document['metadata']['name']} {container['name']}"
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where
        spec = pod_spec(document)
        if spec is not None and document["kind"] != "ServingRuntime":  # its pods' are the InferenceService's
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_committed_and_every_one_is_made_by_the_script(overlay):
    documents = built(DEPLOY / "overlays" / overlay)
    assert not [document for document in documents if document["kind"] == "Secret"]
    named = set(re.findall(r"'secretKeyRef': \{'key': '([\w.-]+)', 'name': '([\w-]+)'", str(documents)))
    assert {(name, key) for key, name in named} <= {(name, key) for name, keys in SECRETS.items() for key in keys}
    mounted = set(re.findall(r"'secretName': '([\w-]+)'", str(documents)))
    assert mounted <= set(SECRETS)


def versions_file() -> dict[str, str]:
    lines = (DEPLOY / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_autoscaling_is_tested_with_the_versions_that_are_installed():
    installed = versions_file()
    assert (keda.VERSION, kwok.METRICS_SERVER.version) == (
        installed["KEDA_VERSION"],
        installed["METRICS_SERVER_VERSION"],
    )


def test_the_images_are_the_versions_file():
    versions = versions_file()
    (images,) = read(DEPLOY / "components" / "images" / "kustomization.yaml")
    for image in images["images"]:
        if image["name"].startswith("askmesh-"):
            assert image["digest"] == "sha256:" + 64 * "0"  # nothing that could be pulled by mistake
        else:
            key = image["name"].upper().replace("-", "_") + "_IMAGE"
            assert f"{image['newName']}:{image['newTag']}" == versions[key]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_image_is_pinned(overlay):
    used = {c["image"] for document in built(DEPLOY / "overlays" / overlay) for c in containers(document)}
    assert all(re.search(r"(@sha256:[0-9a-f]{64}|:[\w.-]*\d[\w.-]*)$", image) for image in used), used


def test_the_model_scales_on_what_one_card_batches():
    (scaled,) = read(DEPLOY / "triton" / "kserve" / "scaledobject.yaml")
    thresholds = {each["name"]: each["metadata"].get("threshold") for each in scaled["spec"]["triggers"]}
    batch = re.search(
        r"^max_batch_size: (\d+)$", (DEPLOY / "triton/models/tensorrt_llm/1/model.yaml").read_text(), re.M
    )
    assert batch is not None
    assert thresholds["concurrency"] == batch[1]


def test_an_orchestrator_scales_at_half_of_its_places():
    (scaled,) = read(DEPLOY / "scaling" / "scaledobject-orchestrator.yaml")
    threshold = int(scaled["spec"]["triggers"][0]["metadata"]["threshold"])
    assert threshold == load(OrchestratorSettings).max_concurrency // 2


def test_scaling_is_the_originals_and_an_outage_of_metrics_scales_nobody_down():
    (retriever,) = read(DEPLOY / "scaling" / "scaledobject-retriever.yaml")
    spec = retriever["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 30)
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["policies"] == [
        {"type": "Percent", "value": 100, "periodSeconds": 30},
        {"type": "Pods", "value": 4, "periodSeconds": 30},
    ]
    assert behavior["scaleDown"]["policies"] == [{"type": "Percent", "value": 50, "periodSeconds": 60}]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    for path in (*files(DEPLOY / "scaling"), DEPLOY / "triton" / "kserve" / "scaledobject.yaml"):
        for document in read(path):
            if document["kind"] == "ScaledObject":
                assert document["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
                for trigger in document["spec"]["triggers"]:
                    assert trigger["type"] != "prometheus" or trigger["metadata"]["ignoreNullValues"] == "false"


def test_an_autoscaler_looks_back_longer_than_its_rates():
    """When Prometheus loses a target, the rate sinks within its lookback before it is missed."""
    for path in files(DEPLOY / "scaling"):
        for document in (each for each in read(path) if each["kind"] == "ScaledObject"):
            down = document["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
            lookbacks = [seconds(found) for found in re.findall(r"\[(\w+)\]", str(document["spec"]["triggers"]))]
            assert max(lookbacks) < down["stabilizationWindowSeconds"]


def test_the_mesh_and_the_services_believe_the_same_issuer():
    overlay = built(DEPLOY / "overlays" / "gke")
    (rule,) = one(overlay, "RequestAuthentication", "callers")["spec"]["jwtRules"]
    told = one(overlay, "ConfigMap", "askmesh")["data"]
    assert rule["issuer"] == told["ASKMESH_JWT_ISSUER"]
    assert rule["audiences"] == [told["ASKMESH_JWT_AUDIENCE"]]
    assert rule["jwksUri"] == told["ASKMESH_JWT_JWKS_URL"]


def test_stores_outside_are_known_to_the_mesh():
    overlay = built(DEPLOY / "overlays" / "gke")
    entries = {
        (host, port["number"])
        for document in overlay
        if document["kind"] == "ServiceEntry"
        for host in document["spec"]["hosts"]
        for port in document["spec"]["ports"]
    }
    told = one(overlay, "ConfigMap", "retriever")["data"]
    assert ("weaviate.stores.example.com", 443) in entries
    assert told["ASKMESH_RETRIEVER_WEAVIATE_URL"] == "https://weaviate.stores.example.com"
    host, _, port = told["ASKMESH_RETRIEVER_WEAVIATE_GRPC"].rpartition(":")
    assert (host, int(port)) in entries
    host, _, port = told["ASKMESH_RETRIEVER_OPENSEARCH_URL"].removeprefix("https://").rpartition(":")
    assert (host, int(port)) in entries
    for service in ("orchestrator", "retriever"):
        redis = re.search(r"@([\w.-]+):(\d+)/", str(one(overlay, "Deployment", service)))
        assert redis is not None
        assert (redis[1], int(redis[2])) in entries


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_two_share_in_redis_is_one_store_under_one_signature(overlay):
    shared = []
    for service in ("orchestrator", "retriever"):
        (container,) = containers(one(built(DEPLOY / "overlays" / overlay), "Deployment", service))
        known = {each["name"].removeprefix(f"ASKMESH_{service.upper()}_"): each for each in container["env"]}
        shared.append((known["REDIS_URL"]["value"], known["REDIS_SECRET"]["valueFrom"]))
    assert shared[0] == shared[1]


def rule(service: str) -> Document:
    document = one(read(ISTIO / "base" / f"destinationrule-{service}.yaml"), "DestinationRule", service)
    policy: Document = document["spec"]["trafficPolicy"]
    return policy


def test_the_meshs_fences_stand_behind_the_services_own():
    """A service sheds with a typed refusal; the proxy's fence is only for what runs away."""
    settings = load(OrchestratorSettings)
    (scaled,) = read(DEPLOY / "scaling" / "scaledobject-orchestrator.yaml")
    most = scaled["spec"]["maxReplicaCount"]
    places, queue = settings.max_concurrency, settings.max_queue
    assert rule("orchestrator")["connectionPool"]["http"]["http2MaxRequests"] == most * (places + queue)
    # A snapshot, a retrieval and its hedge for every ask at work; as much again for ingestion and searches.
    assert rule("retriever")["connectionPool"]["http"]["http2MaxRequests"] >= 2 * 3 * places
    assert rule("triton")["connectionPool"]["http"]["http2MaxRequests"] == 2 * places
    assert rule("gateway")["connectionPool"]["tcp"]["maxConnections"] == 2 * most * places
    assert rule("gateway")["connectionPool"]["http"]["http1MaxPendingRequests"] == most * queue


def test_a_proxy_closes_an_idle_connection_after_the_heartbeat_and_before_the_gateway_does():
    web = load(GatewaySettings)
    idle_s = seconds(rule("gateway")["connectionPool"]["http"]["idleTimeout"])
    assert web.heartbeat_s < idle_s < web.keep_alive_s


def test_whoever_names_no_deadline_is_answered_within_a_drain():
    assert load(GatewaySettings).default_timeout_s < float(config("askmesh")["ASKMESH_DRAIN_S"])
