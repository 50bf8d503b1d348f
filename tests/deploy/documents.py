"""The YAML of istio/ and deploy/, as tests look at it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from askmesh.rig import kubernetes
from askmesh.rig.part import ROOT
from tests.rig import missing

ISTIO = ROOT / "istio"
DEPLOY = ROOT / "deploy"

Document = dict[str, Any]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def read(path: Path) -> list[Document]:
    """Every document of one file."""
    return parsed(path.read_text("utf-8"))


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.yaml"))


def one(documents: list[Document], kind: str, name: str) -> Document:
    """The one document of this kind and name."""
    found = [each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} documents are {kind} {name}"
    return found[0]


def seconds(duration: str) -> float:
    """A duration as Istio writes it: 200ms, 45s, 5m."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)", duration).groups()  # type: ignore[union-attr]  # or fail
    return float(number) * _UNITS[unit]


@cache
def built(folder: Path) -> list[Document]:
    """What kustomize makes of a folder; ends the test where the rig has no kubectl."""
    return parsed(kustomized(folder))


def parsed(text: str) -> list[Document]:
    """Every document of a YAML text."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomized(folder: Path) -> str:
    """The same as text."""
    found = kubernetes.PART.find() or missing(kubernetes.PART.name)
    command = [str(found / "kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{folder.relative_to(ROOT)}: {done.stderr}"
    return done.stdout


def pod_spec(document: Document) -> Document | None:
    """The pods' spec of a workload, None for everything else."""
    spec: Document = document.get("spec") or {}
    match document["kind"]:
        case "Deployment" | "StatefulSet" | "Job":
            found: Document = spec["template"]["spec"]
        case "CronJob":
            found = spec["jobTemplate"]["spec"]["template"]["spec"]
        case "ServingRuntime":
            found = spec
        case _:
            return None
    return found


def containers(document: Document) -> list[Document]:
    """Every container of a workload, those that initialise included."""
    spec = pod_spec(document) or {}
    return [*spec.get("initContainers", []), *spec.get("containers", [])]
