"""One service per process, as a cluster runs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import gateway.app
import orchestrator.app
import retriever.app
from chassis import logs
from chassis.settings import load
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings

ROLES = ("retriever", "orchestrator", "gateway")


@asynccontextmanager
async def serving(role: str) -> AsyncIterator[str]:
    """Run one service with the settings of its environment; yields where it listens."""
    match role:
        case "retriever":
            found = load(RetrieverSettings)
            logs.configure("askmesh-retriever", level=found.log_level, format=found.log_format)
            async with retriever.app.build(found) as retrieving:
                yield retrieving.address
        case "orchestrator":
            asked = load(OrchestratorSettings)
            logs.configure("askmesh-orchestrator", level=asked.log_level, format=asked.log_format)
            async with orchestrator.app.build(asked) as orchestrating:
                yield orchestrating.address
        case _:
            web = load(GatewaySettings)
            logs.configure("askmesh-gateway", level=web.log_level, format=web.log_format)
            async with gateway.app.build(web) as serving_http:
                yield serving_http.url
