"""Runs the secret discovery server of the rig, sds_server.py, with the one package that only it sees.

Envoy's messages come from xds-protos. It stays out of our environment (its modules are named as the Envoy wheel's): the
rig's cache has it, and only that program's path shows it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from askmesh.rig.part import ROOT, Wheel, folder_part, unpack_wheels
from askmesh.rig.process import Recipe, Server, running

VERSION = "1.85.0"
WHEEL = Wheel(f"xds-protos=={VERSION}", "e1e7bfd9936389936b2c85660d9db0dae380f12678a594b983da40dd472f1760")


def make(folder: Path) -> None:
    unpack_wheels([WHEEL], folder)


PART = folder_part("xds-protos", VERSION, used_by="mesh", proof="envoy/service/secret/v3/sds_pb2.py", make=make)


def running_sds(folder: Path) -> AbstractAsyncContextManager[Server]:
    """The server on a free port. Raises RigMissing."""
    path = os.pathsep.join([str(ROOT), str(PART.require())])

    def command(ports: Mapping[str, int]) -> list[str]:
        return [sys.executable, "-m", "askmesh.rig.sds_server", str(ports["grpc"])]

    return running(Recipe("sds", VERSION, ["grpc"], command, _listens, environment={"PYTHONPATH": path}), folder)


async def _listens(server: Server) -> bool:
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.close()
    return True
