"""Prometheus as deploy/observability configures it, over targets that a test names instead of a cluster's pods."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from askmesh.rig.process import HOST, POLL_S
from tests.deploy.queries import OBSERVABILITY, RULES

WAIT_S = 60.0


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
        {"targets": [f"{HOST}:{each.port}"], "labels": {"app": each.app, "role": each.role, "version": "v1"}}
        for each in services
    ]
    config["scrape_configs"] = [{"job_name": job["job_name"], "static_configs": targets}]
    return config
