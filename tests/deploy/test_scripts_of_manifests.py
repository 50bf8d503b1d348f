"""render.py and make_secrets.py: how images and passwords come into manifests that hold neither."""

from __future__ import annotations

import json
import runpy
import sys

import pytest
from cryptography import x509

from askmesh.rig.kubernetes import Kubernetes
from chassis.auth import ApiKeyAuthenticator
from tests.deploy.documents import DEPLOY, containers, kustomized, parsed

RENDER = runpy.run_path(str(DEPLOY / "scripts" / "render.py"))
SECRETS = runpy.run_path(str(DEPLOY / "scripts" / "make_secrets.py"))
TOKENS = {"asker": {"ask"}, "ingester": {"ask", "ingest"}, "operator": {"ask", "admin", "operator"}}
DIGEST = "sha256:" + 64 * "a"


@pytest.fixture
def rendered(request):
    """What an overlay becomes; beside the overlays, since kustomize takes no absolute paths."""
    folder = DEPLOY / "rendered" / f"test-{request.node.callspec.id}"
    folder.mkdir(parents=True, exist_ok=True)

    def render(overlay, digests):
        text = RENDER["rendered"](overlay, "registry.example/team", "v7", digests)
        (folder / "kustomization.yaml").write_text(text)
        return parsed(kustomized(folder))

    yield render
    (folder / "kustomization.yaml").unlink()
    folder.rmdir()


@pytest.mark.parametrize("overlay", ["kind", "gke"])
def test_registry_and_tag_reach_every_image_of_ours(rendered, overlay):
    used = {c["image"] for document in rendered(overlay, {"askmesh-gateway": DIGEST}) for c in containers(document)}
    ours = {image for image in used if "askmesh-" in image}
    assert f"registry.example/team/askmesh-gateway@{DIGEST}" in ours
    assert "registry.example/team/askmesh-orchestrator:v7" in ours
    assert not [image for image in used if "invalid" in image]


async def test_secrets_are_made_once_and_fit_together(kubernetes: Kubernetes, tmp_path):
    await kubernetes.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rag"}})
    said: list[str] = []

    def kubectl(*arguments, stdin=""):
        said.append(stdin)
        return ""

    SECRETS["create"](kubectl, "rag")
    made = {document["metadata"]["name"]: document["stringData"] for document in map(json.loads, filter(None, said))}
    assert set(made) == set(SECRETS["SECRETS"]["rag"])
    for document in filter(None, said):
        await kubernetes.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=document)
    keys = tmp_path / "keys.json"
    keys.write_text(made["askmesh-api-keys"]["keys.json"])
    authenticator = ApiKeyAuthenticator.from_file(keys)
    for name, roles in TOKENS.items():
        identity = authenticator.authenticate({"authorization": f"Bearer {made['askmesh-tokens'][name]}"})
        assert identity.roles == roles
    certificate = x509.load_pem_x509_certificate(made["askmesh-opensearch-transport"]["tls.crt"].encode())
    assert certificate.subject.rfc4514_string() == f"CN={SECRETS['NODE']}"
    assert f'nodes_dn: ["CN={SECRETS["NODE"]}"]' in (DEPLOY / "stores" / "configmap-opensearch.yaml").read_text()


def test_what_is_there_is_left_alone():
    there = [f"secret/{name}" for name in SECRETS["SECRETS"]["rag"] if name != "askmesh-weaviate"]
    applied = []

    def kubectl(*arguments, stdin=""):
        if "get" in arguments:
            return "\n".join(there)
        applied.append(json.loads(stdin)["metadata"]["name"])
        return ""

    assert SECRETS["create"](kubectl, "rag") == ["askmesh-weaviate"] == applied


def test_no_script_hides_a_module_of_pythons_own():
    """A script's folder is first on its path: `secrets.py` there would be everybody's `import secrets`."""
    assert not {path.stem for path in (DEPLOY / "scripts").glob("*.py")} & set(sys.stdlib_module_names)
