"""Prometheus as deploy/observability configures it, over targets that a test names instead of a cluster's pods."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from askmesh.rig.process import HOST, POLL_S
from tests.deploy.queries import OBSERVABILITY, RULES

WAIT_S = 60.0
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """What it answers."""

    url: str

    async def ask(self, expr: str) -> list[dict[str, Any]]:
        """An instant query's vector."""
        async with httpx.AsyncClient(timeout=WAIT_S) as client:
            reply = (await client.get(f"{self.url}/api/v1/query", params={"query": expr})).json()
        assert reply["status"] == "success", reply
        found: list[dict[str, Any]] = reply["data"]["result"]
        return found

    async def until(self, expr: str) -> None:
        """Return once a query finds something."""
        async with asyncio.timeout(WAIT_S):
            while not await self.ask(expr):  # noqa: ASYNC110  # Prometheus tells nobody
                await asyncio.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Scraped:
    """One of our services.

    Attributes:
        port: Of its metrics.
    """

    app: str
    role: str
    address: str
    port: int


def scrape_config(services: Iterable[Scraped], *, every: str) -> dict[str, Any]:
    """The manifests' own configuration, rules included, that looks at these every so often."""
    config: dict[str, Any] = yaml.safe_load((OBSERVABILITY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    config["rule_files"] = [str(RULES / "*.yaml")]
    job = next(each for each in config["scrape_configs"] if each["job_name"] == "askmesh")
    targets = [
        {
            "targets": [f"{HOST}:{each.port}"],
            "labels": {"app": each.app, "rollouts_pod_template_hash": each.role, "version": "v1"},
        }
        for each in services
    ]
    config["scrape_configs"] = [{"job_name": job["job_name"], "static_configs": targets}]
    return config


def discovering(targets: Path, *, every: str) -> dict[str, Any]:
    """The manifests' job "askmesh" as it is, relabelling included, looking for pods in a file instead of the API.

    Debian's Prometheus is built without the discovery of pods; `discovered` writes what that would have found.
    """
    config: dict[str, Any] = yaml.safe_load((OBSERVABILITY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": every, "scrape_timeout": every}
    job = next(each for each in config["scrape_configs"] if each["job_name"] == "askmesh")
    del job["kubernetes_sd_configs"]
    return {"global": config["global"], "scrape_configs": [{**job, "file_sd_configs": [{"files": [str(targets)]}]}]}


def discovered(pod: Mapping[str, Any], address: str) -> dict[str, Any]:
    """A pod's port "http-metrics" as Prometheus discovers it: its documented labels of the role "pod".

    Args:
        address: Where that port is really served.
    """
    metadata = pod["metadata"]
    about = {
        "namespace": metadata["namespace"],
        "pod_name": metadata["name"],
        "pod_phase": pod["status"]["phase"],
        "pod_container_port_name": "http-metrics",
        **{f"pod_label_{_NOT_IN_NAMES.sub('_', name)}": value for name, value in metadata["labels"].items()},
    }
    return {"targets": [address], "labels": {f"__meta_kubernetes_{name}": value for name, value in about.items()}}
