"""Which set of leaves a retriever has: the arms of `settings.search`. Each imports its own clients and no others."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from chassis.budget import Budget, Clock
from chassis.errors import SettingsInvalid
from chassis.telemetry import Telemetry
from embedding.ports import Embedder
from retriever.backup.exporting import ExportSources
from retriever.ingest.commit import Stores
from retriever.ingest.mirrored import MirroredHeads
from retriever.ingest.purge import Janitor
from retriever.mirroring import KeptMirror
from retriever.ports import CollectionHeads, DenseLeg, HeadSurvey, Leases, LexicalLeg
from retriever.search.migration import NothingToMigrate
from retriever.settings import RetrieverSettings
from retriever.upkeep.aftermath import Aftermath
from retriever.upkeep.ports import Migrates, UpkeepStores
from retriever.upkeep.sweep import Sweeper

RECOVERY_BUDGET_S: Final = 60.0  # as opening the store: after a crash every head is looked at


@dataclass(frozen=True, slots=True)
class Leaves:
    """One set of leaves, opened.

    Attributes:
        heads: Those of `stores`, by the name that knows of the snapshot mirror.
    """

    stores: Stores
    heads: MirroredHeads
    dense: DenseLeg
    lexical: LexicalLeg
    survey: HeadSurvey
    leases: Leases
    exports: ExportSources
    upkeep: UpkeepStores
    migration: Migrates


@dataclass(frozen=True, slots=True)
class Process:
    """What leaves need to know of the process that opens them.

    Attributes:
        owner: Its name in leases and transactions; no other process has it.
        embedder: Whose vectors the dense leg keeps; None: lexical search only.
        mirror: Of the collections' snapshots.
        clock: By which the last known state of a collection grows old.
    """

    owner: str
    embedder: Embedder | None
    telemetry: Telemetry
    mirror: KeptMirror = field(default_factory=KeptMirror)
    clock: Clock = time.monotonic

    def mirrored(self, heads: CollectionHeads) -> MirroredHeads:
        return MirroredHeads(heads, self.mirror.mirror, mark=self.mirror.mark)


async def open_leaves(stack: AsyncExitStack, settings: RetrieverSettings, process: Process) -> Leaves:
    """Open what the settings name, and the janitor that tidies it; `stack` closes both.

    Raises:
        SettingsInvalid, DataFolderLocked, StorageFull, CatalogueUnavailable.
        LayoutOutdated: `open_migration` helps.
    """
    match settings.search:
        case "embedded":
            return await _embedded(stack, settings, process)
        case "cluster":
            return await _cluster(stack, settings, process)


async def _embedded(stack: AsyncExitStack, settings: RetrieverSettings, process: Process) -> Leaves:
    from retriever.search.embedded import open_embedded  # noqa: PLC0415  # one arm, one set of clients

    store = await stack.enter_async_context(open_embedded(settings.data_folder.expanduser()))
    heads = process.mirrored(store.heads)
    stores = Stores(heads=heads, records=store.records, dense=store.dense, lexical=store.lexical)
    upkeep = UpkeepStores(
        heads=heads,
        survey=store.heads,
        records=store.records,
        leases=store.leases,
        lexical=store.lexical,
        dense_for=lambda _fingerprint, _dim: store.dense,
        holdings={"embedded": store.holdings},
    )
    janitor = _janitor(stores, upkeep, process)
    await janitor.recover(budget=Budget.of(RECOVERY_BUDGET_S))  # the folder's lock says we are alone
    await stack.enter_async_context(janitor.running())
    exports = ExportSources(store.heads, store.records, store.dense, store.lexical)
    return Leaves(
        stores, heads, store.dense, store.lexical, store.heads, store.leases, exports, upkeep, NothingToMigrate()
    )


async def _cluster(stack: AsyncExitStack, settings: RetrieverSettings, process: Process) -> Leaves:
    """Weaviate and OpenSearch. Others may be writing: the janitor aborts what stands still, never all there is."""
    from retriever.search.cluster import Cluster  # noqa: PLC0415  # one arm, one set of clients

    _require_addresses(settings)
    cluster = await Cluster.connected(stack, settings, process)
    store = await cluster.opened()
    own = process.embedder
    dense = cluster.dense_for(own.fingerprint if own else "", own.dim if own else 0)
    heads = process.mirrored(store.heads)
    stores = Stores(heads=heads, records=store.records, dense=dense, lexical=store.lexical)
    upkeep = UpkeepStores(
        heads=heads,
        survey=store.heads,
        records=store.records,
        leases=store.leases,
        lexical=store.lexical,
        dense_for=cluster.dense_for,
        holdings={"opensearch": store.holdings, "weaviate": cluster.weaviate_holdings},
    )
    await stack.enter_async_context(_janitor(stores, upkeep, process).running())
    exports = ExportSources(store.heads, store.records, dense, store.lexical)
    return Leaves(stores, heads, dense, store.lexical, store.heads, store.leases, exports, upkeep, cluster.migration)


async def open_migration(stack: AsyncExitStack, settings: RetrieverSettings, process: Process) -> Migrates:
    """What brings the settings' stores to the current layout, without opening them."""
    from retriever.search.cluster import Cluster  # noqa: PLC0415  # only a cluster's layout is ever outdated

    return (await Cluster.connected(stack, settings, process)).migration


def _janitor(stores: Stores, upkeep: UpkeepStores, process: Process) -> Janitor:
    aftermath = Aftermath(upkeep.heads, Sweeper(upkeep.survey, upkeep.holdings))
    return Janitor(stores, survey=upkeep.survey, leases=upkeep.leases, owner=process.owner, aftermath=aftermath)


def _require_addresses(settings: RetrieverSettings) -> None:
    wanted = ("opensearch_url", "weaviate_url", "weaviate_grpc")
    missing = [f"ASKMESH_RETRIEVER_{name.upper()}" for name in wanted if not getattr(settings, name)]
    if missing:
        raise SettingsInvalid(f"{', '.join(missing)}: needed for search=cluster")
