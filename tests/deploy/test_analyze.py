"""Istio's own analysis of what we apply: it finds what is valid field by field and wrong as a whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from askmesh.rig import istio
from tests.deploy.documents import kustomized
from tests.deploy.test_apply import ROOTS
from tests.rig import missing

# Routes and policies beside the Services and pods that they are about.
WHOLE = ("overlays/kind", "overlays/gke")


def analysed(folder: Path, manifests: str) -> str:
    """What `istioctl analyze` says of them, without a cluster."""
    found = istio.ISTIOCTL.find() or missing(istio.ISTIOCTL.name)
    written = folder / "manifests.yaml"
    written.write_text(manifests)
    command = [
        str(found / "istioctl"),
        "analyze",
        "--all-namespaces",
        "--use-kube=false",
        "--color=false",
        str(written),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(folder)})
    return done.stdout + done.stderr


@pytest.mark.parametrize("root", WHOLE)
def test_istio_has_nothing_to_say(tmp_path, root):
    assert "No validation issues found" in analysed(tmp_path, kustomized(ROOTS[root]))


@pytest.mark.parametrize("weight", [0, 10, 50, 100])
def test_nor_of_a_canary(tmp_path, weight):
    services = kustomized(ROOTS["overlays/kind"])
    canary = kustomized(ROOTS[f"istio/canary/{weight}"])
    kept = [each for each in services.split("\n---\n") if "istio.io/" not in each.partition("\nmetadata")[0]]
    assert "No validation issues found" in analysed(tmp_path, "\n---\n".join([*kept, canary]))


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("subset: v2", "subset: v3", "IST0101"),  # a subset that no DestinationRule has
        ("- rag/askmesh\n", "- rag/askmush\n", "IST0101"),  # a door that there is none of
        ("protocol: HTTPS", "protocol: HTTPZ", "IST0106"),  # a protocol there is not
    ],
)
def test_it_finds_what_the_api_takes_and_the_mesh_cannot_use(tmp_path, right, wrong, code):
    manifests = kustomized(ROOTS["overlays/kind"])
    assert right in manifests
    assert code in analysed(tmp_path, manifests.replace(right, wrong))
