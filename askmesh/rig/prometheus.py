"""Prometheus and promtool, from Debian's package.

    async with running_prometheus(folder, {"scrape_configs": [...]}) as prometheus:
        prometheus.url  # of its HTTP API; the data are in `folder`

It is built without service discovery: a configuration names its targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from askmesh.rig.debian import debian_part
from askmesh.rig.http_probe import answers
from askmesh.rig.process import HOST, Recipe, Server, running

PART = debian_part("prometheus", programs=["promtool", "prometheus"], used_by="mesh, deploy")


def running_prometheus(folder: Path, config: Mapping[str, Any]) -> AbstractAsyncContextManager[Server]:
    """A server on this configuration, as prometheus.yml has it. Raises RigMissing."""
    program = PART.require() / "prometheus"
    written = folder / "prometheus.yml"

    def command(ports: Mapping[str, int]) -> list[str]:
        written.write_text(json.dumps(config))  # JSON is YAML
        line = [str(program), f"--config.file={written}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        line += ["--scrape.discovery-reload-interval=100ms"]  # new targets are scraped as soon as they are known
        return [*line, f"--web.listen-address={HOST}:{ports['http']}"]

    return running(Recipe("prometheus", PART.version, ["http"], command, _is_ready), folder)


async def _is_ready(server: Server) -> bool:
    return await answers(f"{server.url}/-/ready")
