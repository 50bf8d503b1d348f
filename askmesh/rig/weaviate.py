"""Weaviate 1.35.2, from its Go module.

What is changed in it: three listeners that know no address but "all interfaces" are bound to 127.0.0.1, since a test
server without authentication must not be reachable from outside. Nothing else; see LISTENERS.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from askmesh.rig.part import folder_part, go
from askmesh.rig.process import HOST, Recipe, Server, running

VERSION = "1.35.2"
MODULE = "github.com/weaviate/weaviate"
MODULE_SUM = "h1:D/cB4Lz8BIhE8s6cMUa4dRhlz356r1LRqDLgr5pKhPA="  # as Go's checksum database has it
PROGRAM = "weaviate-server"
# gRPC for clients, gRPC and HTTP between nodes.
LISTENERS = (
    "adapters/handlers/grpc/server.go",
    "adapters/handlers/rest/clusterapi/grpc/server.go",
    "adapters/handlers/rest/clusterapi/serve.go",
)
ALL_INTERFACES = 'fmt.Sprintf(":%d"'
LOOPBACK = f'fmt.Sprintf("{HOST}:%d"'
PORTS = ("http", "grpc", "gossip", "data", "raft", "raft_rpc")


def make(folder: Path) -> None:
    """The server alone, 131 MB: some three minutes on two cores."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        source = _source(Path(scratch), environment)
        command = [
            go(),
            "build",
            "-trimpath",
            "-ldflags",
            "-s -w",
            "-o",
            str(folder / PROGRAM),
            "./cmd/weaviate-server",
        ]
        subprocess.run(command, cwd=source, env=environment, check=True)


def _source(scratch: Path, environment: Mapping[str, str]) -> Path:
    """The module, checked and bound to the loopback; Go's own copy is read-only."""
    command = [go(), "mod", "download", "-json", f"{MODULE}@v{VERSION}"]
    found = json.loads(subprocess.run(command, cwd=scratch, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    if found["Sum"] != MODULE_SUM:
        raise OSError(f"{MODULE}@v{VERSION} is not what was pinned: {found['Sum']}")
    source = scratch / "source"
    shutil.copytree(
        found["Dir"], source, ignore=shutil.ignore_patterns("test", "docs", "*_test.go"), copy_function=_copy
    )
    for name in LISTENERS:
        file = source / name
        text = file.read_text()
        if text.count(ALL_INTERFACES) != 1:
            raise OSError(f"{name} of {MODULE} listens in another way than expected")
        file.write_text(text.replace(ALL_INTERFACES, LOOPBACK))
    return source


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)  # without the mode: modules are read-only


PART = folder_part("weaviate", VERSION, used_by="retriever", proof=PROGRAM, make=make, is_compiled=True)


def running_weaviate(folder: Path, *, options: Mapping[str, str] | None = None) -> AbstractAsyncContextManager[Server]:
    """`recipe`, run: its data stay in `folder`.

    Raises:
        RigMissing: it is not built.
    """
    return running(recipe(folder, options=options), folder)


def recipe(folder: Path, *, options: Mapping[str, str] | None = None) -> Recipe:
    """A Weaviate of one node, without modules, authentication or telemetry.

    Args:
        options: Environment variables for it, as its manual names them.
    Raises:
        RigMissing: it is not built.
    """
    program = PART.require() / PROGRAM

    def command(ports: Mapping[str, int]) -> list[str]:
        settings = {**_environment(folder, ports), **(options or {})}
        line = ["env", *(f"{name}={value}" for name, value in settings.items()), str(program)]
        return [*line, "--host", HOST, "--port", str(ports["http"]), "--scheme", "http"]

    return Recipe("weaviate", VERSION, PORTS, command, _is_ready)


def _environment(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        "PERSISTENCE_DATA_PATH": str(folder / "data"),
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
        "DEFAULT_VECTORIZER_MODULE": "none",
        "ENABLE_MODULES": "",
        "DISABLE_TELEMETRY": "true",
        "GO_PROFILING_DISABLE": "true",  # its port could not be bound to the loopback
        "LOG_LEVEL": "warning",
        "GRPC_PORT": str(ports["grpc"]),
        "CLUSTER_HOSTNAME": "node1",
        "CLUSTER_BIND_ADDR": HOST,
        "CLUSTER_ADVERTISE_ADDR": HOST,
        "CLUSTER_GOSSIP_BIND_PORT": str(ports["gossip"]),
        "CLUSTER_DATA_BIND_PORT": str(ports["data"]),
        "RAFT_PORT": str(ports["raft"]),
        "RAFT_INTERNAL_RPC_PORT": str(ports["raft_rpc"]),
        "RAFT_JOIN": f"node1:{ports['raft']}",
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "DISK_USE_READONLY_PERCENTAGE": "100",  # a developer's disk is often nearly full
        "DISK_USE_WARNING_PERCENTAGE": "100",
    }


async def _is_ready(server: Server) -> bool:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(f"GET /v1/.well-known/ready HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        await writer.drain()
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
