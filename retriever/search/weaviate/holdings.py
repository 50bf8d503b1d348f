"""What Weaviate holds of one installation, by collection: tenants that begin with its namespace, in every class."""

from __future__ import annotations

from chassis.budget import Budget
from retriever.search.weaviate.engine import Engine
from retriever.search.weaviate.layout import CLASS_PREFIX, tenant_name


class WeaviateHoldings:
    """Holdings. A name is a Weaviate tenant's."""

    def __init__(self, engine: Engine, *, namespace: str) -> None:
        self._engine = engine
        self._namespace = namespace

    def name_of(self, tenant: str, uid: str) -> str:
        """See retriever.upkeep.ports.Holdings."""
        return tenant_name(self._namespace, tenant, uid)

    async def names(self, *, budget: Budget) -> set[str]:
        """See retriever.upkeep.ports.Holdings."""
        ours = f"{self._namespace}-"
        found: set[str] = set()
        for name in await self._classes(budget):
            found |= {each for each in await self._engine.tenants(name, budget=budget) if each.startswith(ours)}
        return found

    async def drop_named(self, name: str, *, budget: Budget) -> None:
        """See retriever.upkeep.ports.Holdings."""
        for each in await self._classes(budget):
            await self._engine.drop_tenant(each, name, budget=budget)

    async def _classes(self, budget: Budget) -> list[str]:
        names = [each["class"] for each in await self._engine.classes(budget=budget)]
        return [name for name in names if name.startswith(CLASS_PREFIX)]
