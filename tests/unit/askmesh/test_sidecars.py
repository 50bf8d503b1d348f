"""The two objects the rig writes for a workload of a mesh."""

from __future__ import annotations

import pytest

from askmesh.rig.sidecars import SLOT_LABEL, Place, Scope, Workload, entry, scope_of, twin

ORCHESTRATOR = Workload("orchestrator-0", {"app": "orchestrator"}, "rag", "orchestrator", {"grpc-api": 50051})
PLACE = Place("127.77.1.1", "127.77.1.2", "07")


class Api:
    """Sidecars by namespace, as the Kubernetes API lists them."""

    def __init__(self, **namespaces):
        self._found = {name.replace("_", "-"): items for name, items in namespaces.items()}

    async def get(self, path):
        return {"items": self._found.get(path.split("/")[5], [])}


def sidecar(hosts, *, age=0, selector=None, labels=None):
    spec = {"egress": [{"hosts": hosts}], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    if selector:
        spec["workloadSelector"] = {"labels": selector}
    created = f"2026-01-01T00:00:{60 - age:02}Z"
    return {"metadata": {"name": "x", "creationTimestamp": created, "labels": labels or {}}, "spec": spec}


@pytest.mark.parametrize(
    ("api", "hosts"),
    [
        (Api(), ("*/*",)),
        (Api(istio_system=[sidecar(["mesh/*"])]), ("mesh/*",)),
        (Api(rag=[sidecar(["./*"])], istio_system=[sidecar(["mesh/*"])]), ("./*",)),
        (Api(rag=[sidecar(["./*"], age=9), sidecar(["own/*"], selector={"app": "orchestrator"})]), ("own/*",)),
        (Api(rag=[sidecar(["./*"]), sidecar(["other/*"], selector={"app": "retriever"})]), ("./*",)),
        (
            Api(
                rag=[
                    sidecar(["new/*"], age=1, selector={"app": "orchestrator"}),
                    sidecar(["old/*"], age=2, selector={"app": "orchestrator"}),
                ]
            ),
            ("old/*",),
        ),
        (Api(rag=[sidecar(["rig/*"], selector={"app": "orchestrator"}, labels={SLOT_LABEL: "01"})]), ("*/*",)),
    ],
    ids=["none", "the mesh's", "the namespace's", "its own", "not another's", "the oldest", "not the rig's"],
)
async def test_a_workload_has_the_scope_that_istiod_would_give_it(api, hosts):
    assert (await scope_of(api, ORCHESTRATOR)).hosts == hosts


def test_only_its_sidecar_leads_to_a_process():
    made = twin(ORCHESTRATOR, PLACE, Scope(("./*",)), {"grpc-api": "127.0.0.1:4321"})["spec"]
    assert made["workloadSelector"] == {"labels": {SLOT_LABEL: "07"}}
    assert made["ingress"] == [
        {
            "port": {"number": 50051, "name": "grpc-api", "protocol": "GRPC"},
            "bind": "127.77.1.1",
            "captureMode": "NONE",
            "defaultEndpoint": "127.0.0.1:4321",
        }
    ]
    assert made["egress"] == [{"bind": "127.77.1.2", "captureMode": "NONE", "hosts": ["./*"]}]


def test_a_workload_is_an_endpoint_with_its_pod_s_labels_account_and_ports():
    spec = entry(ORCHESTRATOR, PLACE)["spec"]
    assert (spec["address"], spec["serviceAccount"], spec["ports"]) == (
        "127.77.1.1",
        "orchestrator",
        {"grpc-api": 50051},
    )
    assert spec["labels"].items() >= {"app": "orchestrator", "security.istio.io/tlsMode": "istio"}.items()
