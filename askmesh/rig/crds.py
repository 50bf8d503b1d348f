"""The custom resource definitions of everything our manifests use, as YAML files out of the projects' Go modules.

A module is data here: downloaded, checked against the sum Go's checksum database has for it, never built.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from askmesh.rig.part import folder_part, go_module


@dataclass(frozen=True, slots=True)
class Source:
    """Definitions in a module.

    Attributes:
        module: "path@version".
        sum: Of the module, as go.sum writes it.
        files: Globs below the module's root.
    """

    project: str
    module: str
    sum: str
    files: Sequence[str]


SOURCES = (
    Source(
        "istio",
        "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad",
        "h1:ui9TJjRMAV/hb5ehQaZDq7IUGxuQP6dra9lapT/VjHI=",
        ("manifests/charts/base/files/crd-all.gen.yaml",),
    ),
    Source(
        "gateway-api",
        "sigs.k8s.io/gateway-api@v1.6.0",
        "h1:735YBRj5NXFrOGX0GoSjwzUIzbz8kiEOfADsqHFmHgE=",
        ("config/crd/standard/gateway.networking.k8s.io_[!v]*.yaml",),  # vap_...: a policy, not a definition
    ),
    Source(
        "keda",
        "github.com/kedacore/keda/v2@v2.20.2",
        "h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA=",
        ("config/crd/bases/*.yaml",),
    ),
    Source(
        "argo-rollouts",
        "github.com/argoproj/argo-rollouts@v1.9.0",
        "h1:bXgBpwCByXyAUcgBnyP0fxkSW2CEot78InTFjFlag5g=",
        ("manifests/crds/*-crd.yaml",),
    ),
    Source(
        "kserve",
        "github.com/kserve/kserve@v0.20.0",
        "h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug=",
        ("config/crd/full/serving.kserve.io_*.yaml",),
    ),
)
PROOF = "complete"


def make(folder: Path) -> None:
    """<project>/<file>.yaml for all of them."""
    for source in SOURCES:
        root = go_module(source.module, source.sum)
        target = folder / source.project
        target.mkdir()
        found = [file for pattern in source.files for file in sorted(root.glob(pattern))]
        if not found:
            raise FileNotFoundError(f"{source.module} has no {source.files[0]}")
        for file in found:
            shutil.copyfile(file, target / file.name)
    (folder / PROOF).touch()


VERSION = hashlib.sha256(repr(SOURCES).encode()).hexdigest()[:12]
PART = folder_part("crds", VERSION, used_by="mesh, deploy", proof=PROOF, make=make)


def files() -> Iterator[Path]:
    """Every file. Raises RigMissing."""
    yield from sorted(PART.require().glob("*/*.yaml"))
