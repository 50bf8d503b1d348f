"""Istio's MeshConfig as our installation has it, made fit for a stock Envoy."""

from __future__ import annotations

from typing import Any

from askmesh.rig.part import ROOT, RigMissing

INSTALLATION = ROOT / "istio" / "mesh" / "install.yaml"
# Istio's own metrics come from a filter that a stock Envoy lacks (istio.stats): a provider of this name that makes none
# takes its place, and Telemetry that names it stays valid.
NO_METRICS = {"name": "prometheus", "envoyFileAccessLog": {"path": "/dev/null"}}


def installed() -> dict[str, Any]:
    """From istio/mesh/install.yaml. Raises RigMissing without a YAML reader."""
    try:
        import yaml  # noqa: PLC0415  # a developer's package, not one that askmesh needs
    except ImportError:
        raise RigMissing("PyYAML", "run `make setup-dev`") from None
    config: dict[str, Any] = yaml.safe_load(INSTALLATION.read_text("utf-8"))["spec"]["meshConfig"]
    return config | {"extensionProviders": [*config.get("extensionProviders", ()), NO_METRICS]}
