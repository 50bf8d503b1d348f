"""The retriever's composition root: opens everything in order, closes it in reverse.

Ready means: it can answer, or degrade. Without an embedder it serves, lexical only, and says so in every answer.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from rag.retriever.v1 import collection_pb2_grpc, document_pb2_grpc, retriever_pb2_grpc

from chassis.admission import Admission, Limit
from chassis.auth import Authenticator
from chassis.breaker import Breaker
from chassis.budget import Budget, Clock
from chassis.composition import build_admission, build_authenticator
from chassis.errors import EmbedderUnavailable, SearchUnavailable
from chassis.server import RunningServer, ServiceBinding, serve
from chassis.telemetry import Telemetry, build_telemetry
from embedding.ports import Embedder
from retriever import backup_service, maintenance
from retriever.backup.exporting import Exporter
from retriever.backup.importing import Importer
from retriever.embedders import name_of, open_embedder, token_spans
from retriever.ingest.commit import Committer, utc_now
from retriever.ingest.documents import DocumentWriter, WriterLimits, WriterTools
from retriever.ingest.parsing import Parser
from retriever.ingest.pins import ReadPins
from retriever.ingest.settled import SettledWriter
from retriever.ingest.snapshots import SnapshotReader
from retriever.ingest_stream import StreamLimits
from retriever.metrics import RETRIEVER_METRICS
from retriever.migrating import open_when_migrated
from retriever.mirroring import open_mirror
from retriever.observed import ObservedRetrieval, ObservedWriter
from retriever.operations import Operations
from retriever.pipeline import RetrievalPipeline, RetrievalSources
from retriever.ports import Reranker
from retriever.reading import CatalogueReader
from retriever.reranking.observed import ObservedReranker
from retriever.reranking.opening import open_reranker
from retriever.search.observed import ObservedDenseLeg, ObservedLexicalLeg
from retriever.search.opening import Leaves, Process
from retriever.service import CollectionService, DocumentService, RetrieverService
from retriever.settings import RetrieverSettings
from retriever.warmup import BUDGET_S, warm_up
from retriever.wire.paging import PageTokens

SERVICE_NAME: Final = "askmesh-retriever"
RETRIEVE_METHOD: Final = "/rag.retriever.v1.RetrieverService/Retrieve"
RETRIEVALS_PER_PROCESSOR: Final = 2  # one computes while the other waits for SQLite; a third only lengthens both
INGEST_METHOD: Final = "/rag.retriever.v1.DocumentService/IngestDocuments"
# Bytes a message may have. A document is at most 3 MiB in one message, a part 1 MiB; the rest is metadata and groups.
DOCUMENT_MESSAGE_BYTES: Final = (3 << 20) + (512 << 10)
TRITON_CALLS: Final = 4  # see settings.embedding_calls

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningRetriever:
    """A retriever that serves.

    Attributes:
        address: What a channel dials.
        bindings: Its services, for whoever serves them on a second port.
        embedder: Shared with the orchestrator in the one-process mode; None: lexical only.
    """

    address: str
    bindings: Sequence[ServiceBinding]
    authenticator: Authenticator
    admission: Admission
    embedder: Embedder | None
    server: RunningServer

    async def drain(self) -> None:
        """Stop taking calls and let open ones end."""
        await self.server.drain()


@asynccontextmanager
async def build(
    settings: RetrieverSettings,
    *,
    embedder: Embedder | None = None,
    telemetry: Telemetry | None = None,
    clock: Clock = time.monotonic,
) -> AsyncIterator[RunningRetriever]:
    """Start a retriever.

    Args:
        settings: Read once, by the caller.
        embedder: One that somebody else opened and closes; None opens what the settings name.
        telemetry: The process's; None builds one.
        clock: By which the last known state of a collection grows old.
    Raises:
        SettingsInvalid, DataFolderLocked, PortInUse, StorageFull, CatalogueUnavailable.
    """
    async with AsyncExitStack() as stack:
        if telemetry is None:
            telemetry = await stack.enter_async_context(build_telemetry(SERVICE_NAME, settings))
        telemetry.declare(*RETRIEVER_METRICS)
        authenticator = await stack.enter_async_context(build_authenticator(settings))
        owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        if embedder is None:
            embedder = await _open_embedder(stack, settings, telemetry)
        process = Process(owner, embedder, telemetry, open_mirror(settings, stack), clock)
        admission = build_admission(settings, methods=_limits(settings))
        serving = partial(
            serve,
            address=settings.listen,
            authenticator=authenticator,
            admission=admission,
            telemetry=telemetry,
            drain_s=settings.drain_s,
            is_public=settings.public,
        )
        leaves = await open_when_migrated(stack, settings, process, serving)
        bindings = await _bindings(stack, settings, leaves, process)
        server = await stack.enter_async_context(serving(bindings=bindings))
        yield RunningRetriever(server.address, bindings, authenticator, admission, embedder, server)


def _limits(settings: RetrieverSettings) -> Mapping[str, Limit]:
    """Pools of their own: retrievals, which share the processors, and ingest streams, which last."""
    retrievals = settings.max_retrievals or RETRIEVALS_PER_PROCESSOR * (os.cpu_count() or 1)
    return {
        RETRIEVE_METHOD: Limit(retrievals, settings.max_queue),
        INGEST_METHOD: Limit(settings.max_ingest_streams, settings.max_ingest_streams),
        **maintenance.LIMITS,
    }


async def _open_embedder(stack: AsyncExitStack, settings: RetrieverSettings, telemetry: Telemetry) -> Embedder | None:
    try:
        return await open_embedder(name_of(settings), stack, settings, telemetry)
    except EmbedderUnavailable as error:
        _log.warning("no embedder, search is lexical only", extra={"why": error.message})
        return None


async def _bindings(
    stack: AsyncExitStack, settings: RetrieverSettings, leaves: Leaves, shared: Process
) -> Sequence[ServiceBinding]:
    """The domain between the leaves and the wire."""
    stores = leaves.stores
    snapshots = SnapshotReader(stores.heads, clock=shared.clock)
    plain = RetrievalSources(snapshots, leaves.dense, leaves.lexical, shared.embedder)
    await warm_up(plain, leaves.survey, Budget.of(BUDGET_S))
    parser = await stack.enter_async_context(Parser())
    committer = await stack.enter_async_context(Committer(stores, owner=shared.owner))
    tools = WriterTools(
        heads=stores.heads,
        records=stores.records,
        parser=parser,
        committer=committer,
        embedder=shared.embedder,
        tokens=token_spans(shared.embedder),
    )
    calls = settings.embedding_calls or (TRITON_CALLS if settings.embedder == "triton" else 1)
    limits = WriterLimits(settings.max_document_bytes, settings.ingest_bytes_in_flight, calls)
    writer = ObservedWriter(SettledWriter(DocumentWriter(tools, limits), leaves.heads), shared.telemetry)
    pipeline = RetrievalPipeline(
        _sources(leaves, snapshots, shared, await open_reranker(stack, settings, shared.telemetry)),
        timebox_s=settings.retrieval_timeout_ms / 1e3,
        rerank_depth=settings.rerank_candidates,
    )
    retrieval = ObservedRetrieval(pipeline, shared.telemetry)
    reader = CatalogueReader(snapshots=snapshots, heads=stores.heads, records=stores.records)
    backup = backup_service.BackupService(
        Exporter(
            leaves.exports,
            ReadPins(leaves.leases, owner=shared.owner),
            embedder_fingerprint=shared.embedder.fingerprint if shared.embedder else "",
        ),
        Importer(stores, embedder=shared.embedder, owner=shared.owner, now=utc_now, settle=leaves.heads.settle),
    )
    tokens = PageTokens(settings.page_token_key.get_secret_value().encode() or secrets.token_bytes(32))
    stream = StreamLimits(settings.documents_in_flight, settings.document_timeout_s, settings.max_document_bytes)
    upkeep = maintenance.MaintenanceService(Operations(settings, shared, leaves.upkeep, leaves.migration))
    used = _bound(
        RetrieverService(retrieval, reader, leaves.heads, default_top_k=settings.default_top_k),
        DocumentService(writer, reader, tokens, stream_limits=stream),
        CollectionService(writer, reader, tokens),
    )
    return (*used, maintenance.bound(upkeep), backup_service.bound(backup))


def _sources(leaves: Leaves, snapshots: SnapshotReader, shared: Process, reranker: Reranker | None) -> RetrievalSources:
    telemetry = shared.telemetry
    dense = Breaker("dense", error=SearchUnavailable, telemetry=telemetry)
    lexical = Breaker("lexical", error=SearchUnavailable, telemetry=telemetry)
    return RetrievalSources(
        snapshots=snapshots,
        dense=ObservedDenseLeg(leaves.dense, dense, telemetry),
        lexical=ObservedLexicalLeg(leaves.lexical, lexical, telemetry),
        embedder=shared.embedder,
        reranker=reranker and ObservedReranker(reranker, Breaker("reranker", telemetry=telemetry), telemetry),
    )


def _bound(
    retriever: RetrieverService, documents: DocumentService, collections: CollectionService
) -> Sequence[ServiceBinding]:
    return (
        ServiceBinding(
            "rag.retriever.v1.RetrieverService", retriever_pb2_grpc.add_RetrieverServiceServicer_to_server, retriever
        ),
        ServiceBinding(
            "rag.retriever.v1.DocumentService",
            document_pb2_grpc.add_DocumentServiceServicer_to_server,
            documents,
            {"PutDocument": DOCUMENT_MESSAGE_BYTES, "IngestDocuments": DOCUMENT_MESSAGE_BYTES},
        ),
        ServiceBinding(
            "rag.retriever.v1.CollectionService",
            collection_pb2_grpc.add_CollectionServiceServicer_to_server,
            collections,
        ),
    )
