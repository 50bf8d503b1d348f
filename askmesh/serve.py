"""One service per process, as a cluster runs them.

Each is imported in its own arm: the image of one service has neither the others' packages nor their start-up time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis import logs
from chassis.settings import load

ROLES = ("retriever", "orchestrator", "gateway")


@asynccontextmanager
async def serving(role: str) -> AsyncIterator[str]:
    """Run one service with the settings of its environment; yields where it listens."""
    match role:
        case "retriever":
            import retriever.app
            from retriever.settings import RetrieverSettings

            found = load(RetrieverSettings)
            logs.configure("askmesh-retriever", level=found.log_level, format=found.log_format)
            async with retriever.app.build(found) as retrieving:
                yield retrieving.address
        case "orchestrator":
            import orchestrator.app
            from orchestrator.settings import OrchestratorSettings

            asked = load(OrchestratorSettings)
            logs.configure("askmesh-orchestrator", level=asked.log_level, format=asked.log_format)
            async with orchestrator.app.build(asked) as orchestrating:
                yield orchestrating.address
        case _:
            import gateway.app
            from gateway.settings import GatewaySettings

            web = load(GatewaySettings)
            logs.configure("askmesh-gateway", level=web.log_level, format=web.log_format)
            async with gateway.app.build(web) as serving_http:
                yield serving_http.url
