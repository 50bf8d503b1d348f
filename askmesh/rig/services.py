"""Our own services as processes, one `askmesh serve ROLE` each, the way a cluster runs them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from askmesh.rig.part import ROOT
from askmesh.rig.ports import free_ports
from askmesh.rig.process import HOST, Recipe, Server, running

VERSION = "checkout"
START_S = 120.0  # 2 s alone; a machine of two cores that starts eight of them takes its time


def running_service(
    role: str, folder: Path, *, environment: Mapping[str, str] | None = None
) -> AbstractAsyncContextManager[Server]:
    """The service, ready, on ports of its own; stopped at the end."""
    return running(_recipe(role, environment), folder)


def service(role: str, folder: Path, *, environment: Mapping[str, str] | None = None) -> Server:
    """A service that has its ports and does not run yet; "metrics" is its second one.

    Args:
        role: gateway, orchestrator or retriever.
        environment: Its settings, less where it listens; what a developer's shell has of ASKMESH_... is left out.
    """
    found = Server(_recipe(role, environment), folder)
    found.ports = dict(zip(found.recipe.ports, free_ports(len(found.recipe.ports)), strict=True))
    return found


def _recipe(role: str, environment: Mapping[str, str] | None) -> Recipe:
    def command(ports: Mapping[str, int]) -> list[str]:
        settings = {**(environment or {}), **_listening(role, ports)}
        # `env` starts with nothing of ours, and the ports are known only now.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASKMESH_")}
        line = ["env", "-i", *(f"{name}={value}" for name, value in {**inherited, **settings}.items())]
        return [*line, sys.executable, "-m", "askmesh", "serve", role]

    return Recipe(role, VERSION, ["main", "metrics"], command, _listens, start_s=START_S)


def _listening(role: str, ports: Mapping[str, int]) -> dict[str, str]:
    prefix = f"ASKMESH_{role.upper()}_"
    found = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
        f"{prefix}METRICS_LISTEN": f"{HOST}:{ports['metrics']}",
        "ASKMESH_LOG_FORMAT": "json",
    }
    if role == "gateway":
        return found | {f"{prefix}HOST": HOST, f"{prefix}PORT": str(ports["main"]), f"{prefix}ALLOWED_HOSTS": "*"}
    return found | {f"{prefix}LISTEN": f"{HOST}:{ports['main']}", f"{prefix}PUBLIC": "false"}


async def _listens(server: Server) -> bool:
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.close()
    return True
