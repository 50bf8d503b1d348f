"""The retriever's real writer, stores and pipeline in a temporary folder, without servers: what evaluations search."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from chassis.identity import LOCAL
from embedding.ports import Embedder, TokenSpans
from retriever.documents import DocumentSource
from retriever.ingest.commit import Committer, Stores
from retriever.ingest.documents import DocumentWriter, WriterLimits, WriterTools
from retriever.ingest.parsing import Parser
from retriever.ingest.snapshots import SnapshotReader
from retriever.pipeline import RetrievalPipeline, RetrievalSources
from retriever.ports import DenseLeg, LexicalLeg
from retriever.search.embedded import open_embedded
from retriever.types import Legs, Passage, RetrievalQuery

__all__ = ["Stack", "embedded_stack", "stack_over"]

BUDGET_S = 600.0  # an evaluation waits; it measures quality, not time
TIMEBOX_S = 30.0  # and must never lose a leg to a busy machine; the pipeline caps it at 5 s, hence
ATTEMPTS = 5


class Stack:
    """One data folder with any number of collections."""

    def __init__(self, writer: DocumentWriter, pipeline: RetrievalPipeline) -> None:
        self._writer = writer
        self._pipeline = pipeline

    async def put(self, collection: str, document_id: str, text: str, *, content_type: str = "text/plain") -> None:
        source = DocumentSource(document_id, text.encode(), content_type=content_type)
        await self._writer.put(LOCAL, collection, source, Budget.of(BUDGET_S))

    async def put_all(self, documents: Mapping[str, Mapping[str, str]]) -> None:
        """Texts by collection and document id."""
        for collection, texts in documents.items():
            for document_id, text in texts.items():
                await self.put(collection, document_id, text)

    async def passages(
        self, collection: str, question: str, top_k: int, *, legs: Legs = Legs.HYBRID
    ) -> tuple[Passage, ...]:
        query = RetrievalQuery(collection, question, top_k=top_k, legs=legs)
        for _ in range(ATTEMPTS):
            try:
                retrieval = await self._pipeline.retrieve(LOCAL, query, Budget.of(BUDGET_S))
            except SearchUnavailable:
                continue
            if not retrieval.degraded:
                return retrieval.passages
        raise SearchUnavailable("a leg was lost again and again: the machine is too busy to measure on")


@asynccontextmanager
async def embedded_stack(embedder: Embedder, tokens: TokenSpans | None) -> AsyncIterator[Stack]:
    """An empty stack; it goes away with the context."""
    with tempfile.TemporaryDirectory(prefix="askmesh-eval-") as folder:
        async with open_embedded(Path(folder)) as store:
            stores = Stores(heads=store.heads, records=store.records, dense=store.dense, lexical=store.lexical)
            async with stack_over(stores, (store.dense, store.lexical), embedder, tokens) as stack:
                yield stack


@asynccontextmanager
async def stack_over(
    stores: Stores, legs: tuple[DenseLeg, LexicalLeg], embedder: Embedder, tokens: TokenSpans | None
) -> AsyncIterator[Stack]:
    """An empty stack over any set of leaves, by the production path."""
    async with Parser() as parser, Committer(stores, owner="evaluation") as committer:
        tools = WriterTools(stores.heads, stores.records, parser, committer, embedder, tokens)
        sources = RetrievalSources(SnapshotReader(stores.heads), *legs, embedder)
        writer = DocumentWriter(tools, WriterLimits())
        yield Stack(writer, RetrievalPipeline(sources, timebox_s=TIMEBOX_S))
