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
from retriever.ingest.commit import Stores
from retriever.ingest.mirrored import MirroredHeads
from retriever.ingest.purge import Janitor
from retriever.mirroring import KeptMirror
from retriever.ports import CollectionHeads, DenseLeg, HeadSurvey, LexicalLeg
from retriever.settings import RetrieverSettings

RECOVERY_BUDGET_S: Final = 60.0  # as opening the store: after a crash every head is looked at
NO_EMBEDDER: Final = "none"  # a dense leg that is neither written nor searched


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
    janitor = Janitor(stores, survey=store.heads, leases=store.leases, owner=process.owner)
    await janitor.recover(budget=Budget.of(RECOVERY_BUDGET_S))  # the folder's lock says we are alone
    await stack.enter_async_context(janitor.running())
    return Leaves(stores, heads, store.dense, store.lexical, store.heads)


async def _cluster(stack: AsyncExitStack, settings: RetrieverSettings, process: Process) -> Leaves:
    """Weaviate and OpenSearch. Others may be writing: the janitor aborts what stands still, never all there is."""
    from retriever.search.opensearch import OpenSearchAddress, open_opensearch  # noqa: PLC0415
    from retriever.search.weaviate import WeaviateDenseIndex, open_engine  # noqa: PLC0415

    _require_addresses(settings)
    address = OpenSearchAddress(
        settings.opensearch_url,
        settings.opensearch_user,
        settings.opensearch_password.get_secret_value(),
        settings.store_prefix,
    )
    store = await stack.enter_async_context(open_opensearch(address, telemetry=process.telemetry))
    engine = await stack.enter_async_context(
        open_engine(settings.weaviate_url, settings.weaviate_grpc, settings.weaviate_api_key.get_secret_value())
    )
    dense = WeaviateDenseIndex(
        engine,
        fingerprint=process.embedder.fingerprint if process.embedder else NO_EMBEDDER,
        dim=process.embedder.dim if process.embedder else 0,
        namespace=settings.store_prefix,
    )
    heads = process.mirrored(store.heads)
    stores = Stores(heads=heads, records=store.records, dense=dense, lexical=store.lexical)
    janitor = Janitor(stores, survey=store.heads, leases=store.leases, owner=process.owner)
    await stack.enter_async_context(janitor.running())
    return Leaves(stores, heads, dense, store.lexical, store.heads)


def _require_addresses(settings: RetrieverSettings) -> None:
    wanted = ("opensearch_url", "weaviate_url", "weaviate_grpc")
    missing = [f"ASKMESH_RETRIEVER_{name.upper()}" for name in wanted if not getattr(settings, name)]
    if missing:
        raise SettingsInvalid(f"{', '.join(missing)}: needed for search=cluster")
