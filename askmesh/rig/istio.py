"""istiod (pilot-discovery) and istioctl of Istio's 1.31 line, reading everything from a Kubernetes API of the rig.

It runs without its CA (sds.py stands in), without webhooks, and on plaintext ports of the loopback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from askmesh.rig.http_probe import answers
from askmesh.rig.kubernetes import Kubernetes
from askmesh.rig.process import HOST, Recipe, Server, running
from askmesh.rig.thin_module import thin_module

VERSION = "1.31-eed52eb"  # the commit; releases of the 1.30 line cannot be had from the module proxy
TAGS = "vtprotobuf,disable_pgv"  # as Istio's own builds have them
PART = thin_module(
    "istiod",
    VERSION,
    used_by="mesh",
    packages=["istio.io/istio/pilot/cmd/pilot-discovery"],
    module="istio",
    tags=TAGS,
)
ISTIOCTL = thin_module(
    "istioctl", VERSION, used_by="deploy", packages=["istio.io/istio/istioctl/cmd/istioctl"], module="istio", tags=TAGS
)
# What a stock Envoy needs to be told, over the mesh configuration that a caller gives.
MESH = {"trustDomain": "cluster.local", "rootNamespace": "istio-system", "enablePrometheusMerge": False}
ENVIRONMENT = {
    "POD_NAME": "istiod",
    "POD_NAMESPACE": "istio-system",
    "SERVICE_ACCOUNT": "istiod",
    "CLUSTER_ID": "Kubernetes",
    "ENABLE_CA_SERVER": "false",
    "PILOT_CERT_PROVIDER": "none",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    # Filters that a stock Envoy does not have.
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    # Changes are pushed when none has come for so long; the default of 100 ms is for clusters that are never quiet.
    "PILOT_DEBOUNCE_AFTER": "20ms",
}


def running_istiod(
    folder: Path, kubernetes: Kubernetes, *, mesh: Mapping[str, Any] | None = None
) -> AbstractAsyncContextManager[Server]:
    """istiod for that API; its port "grpc" is for sidecars.

    Args:
        mesh: Istio's MeshConfig, as the installation has it.
    Raises:
        RigMissing: it is not built.
    """
    program = PART.require() / "pilot-discovery"
    config = folder / "mesh.json"

    def command(ports: Mapping[str, int]) -> list[str]:
        found = dict(mesh or {}) | MESH
        found["defaultConfig"] = {**found.get("defaultConfig", {}), "discoveryAddress": f"{HOST}:{ports['grpc']}"}
        config.write_text(json.dumps(found))
        line = [str(program), "discovery", "--kubeconfig", str(kubernetes.kubeconfig), "--registries", "Kubernetes"]
        line += ["--grpcAddr", f"{HOST}:{ports['grpc']}", "--httpAddr", f"{HOST}:{ports['http']}"]
        line += ["--monitoringAddr", f"{HOST}:{ports['metrics']}", "--secureGRPCAddr", "", "--httpsAddr", ""]
        return [*line, "--meshConfig", str(config), "--ctrlz_port", "0", "--shutdownDuration", "1s"]

    recipe = Recipe(
        "istiod", VERSION, ["http", "grpc", "metrics"], command, _is_ready, environment=ENVIRONMENT, start_s=120.0
    )
    return running(recipe, folder)


async def _is_ready(server: Server) -> bool:
    return await answers(f"{server.url}/ready")
