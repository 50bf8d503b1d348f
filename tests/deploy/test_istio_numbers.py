"""The mesh's numbers and names are the code's: whoever changes one side finds the other here."""

from __future__ import annotations

import itertools

import pytest
from rag.orchestrator.v1 import orchestrator_pb2
from rag.retriever.v1 import collection_pb2, document_pb2, maintenance_pb2, retriever_pb2

from chassis.context import VARIANT_HEADER
from chassis.retry import RETRY_SHARE
from chassis.server import FAREWELL_S, FORCE_S, INTERNAL_STREAMS
from chassis.settings import load
from gateway.settings import GatewaySettings
from orchestrator.retrieval.grpc import HEDGE_HEADER
from orchestrator.settings import OrchestratorSettings
from tests.deploy.documents import DEPLOY, ISTIO, Document, files, one, read, seconds

BASE = [document for path in files(ISTIO / "base") for document in read(path)]
HOPS = ("gateway", "orchestrator", "retriever", "triton")
# What every ask needs of a retriever: the mesh tries them a second time (docs/decisions/0114).
RETRIED = {f"/rag.retriever.v1.RetrieverService/{method}" for method in ("Retrieve", "GetSnapshot")}
PORTS = {"gateway": 8080, "orchestrator": 50051, "retriever": 50052, "triton": 8001}


def routes(service: str) -> list[Document]:
    found: list[Document] = one(BASE, "VirtualService", service)["spec"]["http"]
    return found


def contract_methods() -> set[str]:
    modules = (orchestrator_pb2, retriever_pb2, document_pb2, collection_pb2, maintenance_pb2)
    services = itertools.chain.from_iterable(module.DESCRIPTOR.services_by_name.values() for module in modules)
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


@pytest.mark.parametrize("path", list(files(ISTIO)), ids=lambda path: str(path.relative_to(ISTIO)))
def test_a_file_holds_one_kind(path):
    assert len({document["kind"] for document in read(path)}) == 1


@pytest.mark.parametrize("service", HOPS)
def test_only_what_an_ask_needs_of_a_retriever_is_retried_and_once(service):
    for route in routes(service):
        if "directResponse" in route:
            continue
        matched = {match.get("uri", {}).get("exact") for match in route.get("match", [])}
        assert route["retries"]["attempts"] == (1 if matched & RETRIED else 0), route["name"]
        assert not matched & RETRIED or matched == RETRIED, f"{route['name']}: both or none"
        assert "timeout" not in route, f"{route['name']}: a timeout would cut streams"


def test_the_mesh_retries_nothing_by_itself():
    mesh = read(ISTIO / "mesh" / "install.yaml")[0]["spec"]["meshConfig"]
    assert mesh["defaultHttpRetryPolicy"]["attempts"] == 0


def test_the_retried_methods_are_free_of_side_effects():
    methods = retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"].methods
    retried = [method for method in methods if f"/{method.containing_service.full_name}/{method.name}" in RETRIED]
    assert len(retried) == len(RETRIED)
    for method in retried:
        assert method.GetOptions().idempotency_level == method.GetOptions().NO_SIDE_EFFECTS


def test_a_try_is_shorter_than_the_orchestrators_timebox():
    timebox_s = load(OrchestratorSettings).retrieve_timeout_ms / 1_000
    tries = [seconds(r["retries"]["perTryTimeout"]) for r in routes("retriever") if r["retries"]["attempts"]]
    assert len(tries) == 2
    assert all(one_try < timebox_s for one_try in tries)


def test_hedged_calls_are_recognised_by_the_codes_header_and_never_retried():
    name, value = HEDGE_HEADER
    hedged = [r for r in routes("retriever") if any(name in m.get("headers", {}) for m in r.get("match", []))]
    assert [r["name"] for r in hedged] == ["hedged-v2", "hedged"]
    assert routes("retriever").index(hedged[1]) < [r["name"] for r in routes("retriever")].index("retrieve")
    for route in hedged:
        assert route["match"][0]["headers"][name] == {"exact": value}
        assert route["retries"] == {"attempts": 0}


def test_the_variant_is_drawn_at_the_orchestrators_door_only():
    for service in HOPS:
        for route in routes(service):
            weighted = [part for part in route.get("route", []) if "weight" in part]
            assert bool(weighted) == (route["name"] == "drawn"), route["name"]
            if weighted:
                assert service == "orchestrator"
                drawn = {p["destination"]["subset"]: p["headers"]["request"]["set"][VARIANT_HEADER] for p in weighted}
                assert drawn == {"v1": "v1", "v2": "v2"}


@pytest.mark.parametrize("service", HOPS)
def test_every_hop_sends_a_named_variant_to_its_pods(service):
    named = {
        match["headers"][VARIANT_HEADER]["exact"]: route["route"][0]["destination"]["subset"]
        for route in routes(service)
        for match in route.get("match", [])
        if VARIANT_HEADER in match.get("headers", {})
    }
    assert named.get("v2") == "v2"
    assert named.get("v1", "v1") == "v1"


@pytest.mark.parametrize("service", HOPS)
def test_routes_and_subsets_name_one_host_and_port(service):
    rule = one(BASE, "DestinationRule", service)["spec"]
    assert rule["host"] == f"{service}.rag.svc.cluster.local"
    assert [subset["name"] for subset in rule["subsets"]] == ["v1", "v2"]
    for route in routes(service):
        for part in route.get("route", []):
            assert part["destination"]["host"] == rule["host"]
            assert part["destination"]["port"]["number"] == PORTS[service]


def test_ports_are_those_of_the_settings():
    assert load(GatewaySettings).port == PORTS["gateway"]
    assert load(OrchestratorSettings).listen.endswith(f":{PORTS['orchestrator']}")
    assert load(OrchestratorSettings).retriever_address.endswith(f":{PORTS['retriever']}")
    assert load(OrchestratorSettings).triton_address.endswith(f":{PORTS['triton']}")


@pytest.mark.parametrize("service", HOPS)
def test_at_least_half_of_the_pods_may_be_ejected(service):
    assert (
        one(BASE, "DestinationRule", service)["spec"]["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] >= 50
    )


@pytest.mark.parametrize("service", ["orchestrator", "retriever"])
def test_a_connection_carries_as_many_streams_as_our_servers_take(service):
    pool = one(BASE, "DestinationRule", service)["spec"]["trafficPolicy"]["connectionPool"]
    assert pool["http"]["maxConcurrentStreams"] == INTERNAL_STREAMS


def test_the_mesh_and_the_app_allow_the_same_share_of_retries():
    policy = one(BASE, "DestinationRule", "retriever")["spec"]["trafficPolicy"]
    assert policy["retryBudget"]["percent"] == 100 * RETRY_SHARE


def test_second_tries_at_once_are_enough_for_all_that_a_dying_retriever_breaks():
    policy = one(BASE, "DestinationRule", "retriever")["spec"]["trafficPolicy"]
    [config] = read(DEPLOY / "base" / "configmap-orchestrator.yaml")
    retrievals = int(config["data"]["ASKMESH_ORCHESTRATOR_MAX_RETRIEVALS"])
    # As many snapshots beside the retrievals; of two retrievers, the fewest there are, half are at the dying one.
    assert policy["retryBudget"]["minRetryConcurrency"] >= 2 * retrievals / 2


def test_a_second_try_goes_to_another_retriever():
    """By turns: whoever has the fewest requests open may be the one that just failed (docs/decisions/0116)."""
    policy = one(BASE, "DestinationRule", "retriever")["spec"]["trafficPolicy"]
    assert policy["loadBalancer"] == {"simple": "ROUND_ROBIN"}
    for route in routes("retriever"):
        assert route["retries"].get("retryIgnorePreviousHosts", False) == bool(route["retries"]["attempts"])


def test_a_proxy_outlasts_its_service():
    mesh = read(ISTIO / "mesh" / "install.yaml")[0]["spec"]["meshConfig"]["defaultConfig"]
    longest_answer_s = load(OrchestratorSettings).generation_timeout_ms / 1_000
    assert seconds(mesh["terminationDrainDuration"]) > longest_answer_s + FAREWELL_S + FORCE_S


def test_policies_name_methods_that_exist():
    named = {
        path
        for document in BASE
        if document["kind"] == "AuthorizationPolicy"
        for rule in document["spec"].get("rules", [])
        for to in rule["to"]
        for path in to["operation"].get("paths", [])
        if path.startswith("/rag.")
    }
    methods = contract_methods() | OPERATORS
    for path in named:
        matching = [m for m in methods if m == path or (path.endswith("*") and m.startswith(path[:-1]))]
        assert matching, f"no method is {path}"


OPERATORS = {"/rag.retriever.v1.BackupService/"}  # its contract is being written


def test_nobody_may_control_the_model_repository():
    denied = one(BASE, "AuthorizationPolicy", "triton-control")["spec"]
    assert denied["action"] == "DENY"
    assert "from" not in denied["rules"][0]
    paths = set(denied["rules"][0]["to"][0]["operation"]["paths"])
    assert {f"/inference.GRPCInferenceService/RepositoryModel{verb}" for verb in ("Load", "Unload")} <= paths


def test_what_nobody_allows_is_refused():
    assert one(BASE, "AuthorizationPolicy", "deny-by-default")["spec"] == {}
    assert one(BASE, "PeerAuthentication", "default")["spec"] == {"mtls": {"mode": "STRICT"}}
