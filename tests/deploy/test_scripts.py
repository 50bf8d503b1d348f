"""The scripts behind make's cluster targets; stand-ins record every call of theirs and answer like the real tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from askmesh.rig import catalogue
from askmesh.rig.ports import free_ports
from tests.deploy.machine import ENVIRONMENT, REGISTRY, ROOT, SCRIPTS, SECRET, TOOLS, VERSIONS, Machine
from tests.rig import missing


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_every_script_is_clean_to_shellcheck():
    found = shutil.which("shellcheck") or Path(sys.executable).with_name("shellcheck")
    scripts = sorted(str(file) for folder in ("scripts", "images") for file in (ROOT / "deploy" / folder).glob("*.sh"))

    done = subprocess.run([str(found), "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda file: file.name)
def test_every_script_stops_at_the_first_failure(script):
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK)


# --- preflight ---


def test_preflight_names_everything_that_is_missing_and_creates_nothing(machine):
    for tool in (*TOOLS, "gke-gcloud-auth-plugin"):
        (machine.bin / tool).unlink()
    for tool in ("bash", "dirname", "git"):  # what a script needs itself, and nothing of what it looks for
        (machine.bin / tool).symlink_to(str(shutil.which(tool)))

    nothing = dict.fromkeys(ENVIRONMENT)
    done = machine.run("preflight.sh", "all", **{**nothing, "PATH": str(machine.bin), "PYTHON": sys.executable})

    assert done.returncode == 1
    for name in ("docker", "kubectl", "istioctl", "gcloud", "GCP_PROJECT", "GKE_REGION", "REGISTRY", "GPU_MACHINE_TYPE",
                 "GPU_ACCELERATOR", "GPU_MIN_NODES", "GPU_MAX_NODES", "HF_TOKEN"):  # fmt: skip
        assert f"missing: {name} " in done.stderr, name
    assert machine.calls() == []


def test_preflight_is_content_where_everything_is_here(machine):
    done = machine.run("preflight.sh", "all")

    assert (done.returncode, done.stderr) == (0, "preflight: everything is here\n")


@pytest.mark.parametrize(
    ("fact", "what", "says"),
    [
        ({"account": ""}, "gke", "gcloud auth login"),
        ({"no_cluster": True}, "deploy", "make dev-up, or make gke-credentials"),
        ({"docker_is_down": True}, "build", "start it"),
    ],
)
def test_preflight_says_what_to_do_about_credentials_and_daemons(machine, fact, what, says):
    machine.state(**fact)

    done = machine.run("preflight.sh", what)

    assert done.returncode == 1
    assert says in done.stderr


def test_preflight_refuses_versions_that_were_never_seen_together(machine):
    tool = machine.bin / "istioctl"
    tool.write_text(tool.read_text().replace("1.31.4", "1.29.0"))

    done = machine.run("preflight.sh", "deploy")

    assert done.returncode == 1
    assert f"istioctl {VERSIONS['ISTIO_VERSION']} (deploy/versions.env); here is" in done.stderr


# --- Google Kubernetes Engine ---


def test_a_cluster_has_private_nodes_a_registry_and_a_spot_pool_in_this_order(machine):
    done = machine.run("gke.sh", "cluster")

    assert done.returncode == 0, done.stderr
    created = [call for call in machine.calls() if " create " in call]
    assert [call.split(" create ")[0].removeprefix("gcloud --quiet --project my-project ") for call in created] == [
        "compute networks", "compute routers", "compute routers nats", "artifacts repositories", "container clusters",
        "container node-pools",
    ]  # fmt: skip
    [cluster] = machine.made("clusters", "create", "mesh")
    for option in ("--enable-private-nodes", "--region europe-west4", "--machine-type e2-standard-4",
                   "--workload-pool my-project.svc.id.goog", "--cluster-version 1.35"):  # fmt: skip
        assert option in cluster
    assert "gcloud --quiet --project my-project auth configure-docker europe-west4-docker.pkg.dev" in machine.calls()


def test_what_exists_is_not_created_again(machine):
    for command in ("cluster", "gpu"):
        machine.run("gke.sh", command)
    first = [call for call in machine.calls() if " create " in call]

    for command in ("cluster", "gpu"):
        assert machine.run("gke.sh", command).returncode == 0

    assert [call for call in machine.calls() if " create " in call] == first


def test_autopilot_makes_no_pools(machine):
    done = machine.run("gke.sh", "autopilot")

    assert done.returncode == 0
    assert "the mesh cannot run on it" in done.stderr
    assert len(machine.made("clusters", "create-auto", "mesh")) == 1
    assert machine.made("node-pools") == []


def test_the_pool_of_accelerators_starts_at_zero_and_takes_nothing_else(machine):
    assert machine.run("gke.sh", "gpu").returncode == 0

    [pool] = machine.made("node-pools", "create", "gpu")
    for option in ("--machine-type g2-standard-4", "type=nvidia-l4,count=1,", "--num-nodes 0", "--total-min-nodes 0",
                   "--total-max-nodes 3", "--node-taints nvidia.com/gpu=present:NoSchedule"):  # fmt: skip
        assert option in pool


def test_nothing_is_created_without_a_project(machine):
    done = machine.run("gke.sh", "cluster", GCP_PROJECT=None)

    assert done.returncode == 1
    assert "missing: GCP_PROJECT" in done.stderr
    assert [call for call in machine.calls() if "create" in call] == []


def test_the_cluster_goes_with_its_network_and_twice_is_no_error(machine):
    machine.run("gke.sh", "cluster")

    assert [machine.run("gke.sh", "down").returncode for _ in range(2)] == [0, 0]

    deleted = [call for call in machine.calls() if " delete " in call]
    assert [call.split("my-project ")[1].split(" --")[0] for call in deleted] == [
        "container clusters delete mesh", "compute routers delete mesh", "compute networks delete mesh",
    ]  # fmt: skip


def test_the_door_is_not_opened_without_a_certificate(machine):
    done = machine.run("gke.sh", "expose")

    assert done.returncode == 1
    assert "TLS_CERT" in done.stderr


# --- deploying ---


def test_registry_and_tag_reach_the_manifests(machine):
    done = machine.run("deploy.sh", "gke")

    assert done.returncode == 0, done.stderr
    applied = "".join(str(record["stdin"]) for record in machine.records())
    assert f"image: '{REGISTRY}/askmesh-retriever:v7'" in applied
    [built] = machine.made("kubectl", "kustomize")
    rendered = (Path(built.split()[-1]) / "kustomization.yaml").read_text()
    assert f"newName: {REGISTRY}/askmesh-retriever" in rendered
    assert 'newTag: "v7"' in rendered


def test_the_order_is_namespace_secrets_manifests_and_then_waiting(machine):
    machine.run("deploy.sh", "gke")

    kinds = []
    for record in machine.records():
        argv, given = record["argv"], str(record["stdin"])
        if argv[1] == "apply":
            kinds.append(json.loads(given)["kind"] if given.startswith("{") else "manifests")
        elif "rollout" in argv:
            kinds.append("wait")
    assert kinds[:2] == ["Namespace", "Secret"]
    assert set(kinds[:-2]) == {"Namespace", "Secret"}
    assert kinds[-2:] == ["manifests", "wait"]


def test_secrets_come_from_the_environment_and_never_from_arguments(machine):
    done = machine.run("deploy.sh", "gke")

    secrets = {
        made["metadata"]["name"]: made["stringData"]
        for record in machine.records()
        if str(record["stdin"]).startswith("{") and (made := json.loads(str(record["stdin"])))["kind"] == "Secret"
    }
    assert secrets["hf-token"] == {"token": SECRET}
    values = [value for data in secrets.values() for value in data.values()]
    seen = "\n".join(machine.calls()) + done.stdout + done.stderr
    assert [value for value in values if value in seen] == []
    assert {"askmesh-opensearch", "askmesh-weaviate", "askmesh-redis", "askmesh-signing", "askmesh-tokens"} <= set(
        secrets
    )
    assert all(token not in secrets["askmesh-api-keys"]["keys.json"] for token in secrets["askmesh-tokens"].values())


def test_a_second_deployment_keeps_every_secret_that_was_made(machine):
    machine.run("deploy.sh", "gke", HF_TOKEN=None)
    before = len(machine.calls())

    machine.run("deploy.sh", "gke", HF_TOKEN=None)

    again = [str(record["stdin"]) for record in machine.records()[before:] if '"Secret"' in str(record["stdin"])]
    assert again == []


def test_a_secret_that_the_environment_names_replaces_the_one_that_was_made(machine):
    machine.run("deploy.sh", "gke")

    machine.run("deploy.sh", "gke", REDIS_PASSWORD="from-outside")

    last = [str(record["stdin"]) for record in machine.records() if "askmesh-redis" in str(record["stdin"])][-1]
    assert json.loads(last)["stringData"] == {"password": "from-outside"}


def test_down_deletes_the_manifests_that_were_applied_and_then_the_namespaces(machine):
    machine.run("deploy.sh", "gke")
    [applied] = [str(record["stdin"]) for record in machine.records() if "retriever:v7" in str(record["stdin"])]

    assert machine.run("deploy.sh", "down", "gke").returncode == 0

    deleted = [record for record in machine.records() if "delete" in record["argv"]]
    assert deleted[0]["stdin"].strip() == applied.strip()
    assert deleted[1]["argv"][1:5] == ["delete", "namespace", "rag", "observability"]
    assert all("--ignore-not-found" in record["argv"] for record in deleted)


def test_no_manifest_is_applied_when_the_overlay_names_none_of_our_images(machine):
    tool = machine.bin / "kubectl"
    tool.write_text(tool.read_text().replace("{registry}/askmesh-retriever", "somewhere.example/other"))

    done = machine.run("deploy.sh", "gke")

    assert done.returncode == 1
    assert machine.made("apply") == []


@pytest.mark.parametrize("overlay", ["kind", "gke"])
def test_every_image_of_a_real_overlay_is_rendered(overlay):
    """With the real kubectl: what is applied names our registry, and nothing that cannot be pulled."""
    home = catalogue.part("kubernetes").find() or missing("kubernetes")
    environment = {**os.environ, "PATH": f"{home}:{os.environ['PATH']}", "REGISTRY": REGISTRY, "TAG": "v7"}
    command = f'kubectl kustomize "$({sys.executable} {SCRIPTS}/render.py {overlay})"'
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    images = set(re.findall(r"image: ([^\s,}]+)", done.stdout))
    ours = {f"{REGISTRY}/askmesh-{name}:v7" for name in ("gateway", "orchestrator", "retriever")}
    assert ours <= images
    assert [image for image in images if "invalid" in image] == []
    pinned = set(VERSIONS.values())
    assert [image for image in images if not image.startswith(REGISTRY) and image not in pinned] == []


# --- control planes and KinD ---


def test_control_planes_come_in_the_pinned_versions_and_certificates_before_who_needs_them(machine):
    done = machine.run("install.sh", "kind", RELEASES="https://mirror.example")

    assert done.returncode == 0, done.stderr
    files = [call.split()[-1] for call in machine.made("kubectl", "apply")]
    versions = [re.search(r"/download/v([^/]+)/", file)[1] for file in files]  # type: ignore[index]  # each has one
    names = ("GATEWAY_API", "CERT_MANAGER", "KEDA", "KSERVE", "ARGO_ROLLOUTS", "METRICS_SERVER")
    assert versions == [VERSIONS[f"{name}_VERSION"] for name in names]
    assert all(file.startswith("https://mirror.example/") for file in files)
    assert machine.made("istioctl", "install", "istio/mesh/install.yaml")
    assert machine.made("kubectl", "deployment/keda-operator", "KEDA_RESTRICT_SECRET_ACCESS=true")


@pytest.mark.parametrize("overlay", ["kind", "gke"])
def test_istio_is_told_that_it_is_on_gke(machine, overlay):
    done = machine.run("install.sh", overlay, RELEASES="https://mirror.example")

    assert done.returncode == 0, done.stderr
    [install] = machine.made("istioctl", "install")
    assert ("--set values.global.platform=gke" in install) is (overlay == "gke")


def test_a_developers_cluster_is_built_made_filled_and_deployed_in_this_order(machine, monkeypatch):
    done = machine.run("dev.sh", "up", ENGINE="docker", WHEELS="none", REGISTRY="localhost")

    assert done.returncode == 0, done.stderr
    calls = machine.calls()
    order = [
        "docker build", f"kind create cluster --name mesh --image {VERSIONS['KIND_NODE_IMAGE']}",
        "kind load docker-image --name mesh localhost/askmesh-gateway:v7", "istioctl install", "kubectl kustomize",
    ]  # fmt: skip
    places = [next(at for at, call in enumerate(calls) if call.startswith(start)) for start in order]
    assert places == sorted(places)
    loaded = [call.split()[-1] for call in calls if "load docker-image" in call]
    built = [call.split("--tag ")[1].split()[0] for call in calls if call.startswith("docker build")]
    assert (
        loaded
        == built
        == [f"localhost/askmesh-{name}:v7" for name in ("gateway", "orchestrator", "retriever", "ingest")]
    )


@pytest.mark.parametrize(("given", "sent"), [(None, "key of ingester"), ("a token of mine", "a token of mine")])
def test_documents_are_sent_with_the_key_that_was_made_for_it(machine, given, sent):
    python = machine.bin / "python-standin"
    python.write_text('#!/bin/sh\necho "$ASKMESH_CLIENT_TARGET $ASKMESH_CLIENT_TOKEN: $*"\n')
    python.chmod(0o755)
    [port] = free_ports(1)

    done = machine.run("ingest.sh", "manuals", PYTHON=str(python), INGEST_PORT=str(port), INGEST_TOKEN=given)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"127.0.0.1:{port} {sent}: -m askmesh ingest manuals\n"


def test_a_developers_cluster_goes_away_and_twice_is_no_error(machine):
    machine.state(mesh=True)

    assert [machine.run("dev.sh", "down").returncode for _ in range(2)] == [0, 0]

    assert len(machine.made("kind", "delete", "cluster")) == 1


def test_images_are_pushed_only_when_asked(machine):
    machine.run("build.sh", "gateway", ENGINE="docker", WHEELS="none")
    assert machine.made("docker", "push") == []

    machine.run("build.sh", "gateway", ENGINE="docker", WHEELS="none", PUSH="1")

    assert machine.made("docker", "push") == [f"docker push {REGISTRY}/askmesh-gateway:v7"]
    [build, _] = machine.made("docker", "build")
    assert f"DEBIAN_IMAGE={VERSIONS['DEBIAN_IMAGE']}" in build
