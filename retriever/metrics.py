"""The names of everything the retriever measures and puts on spans. The first two are the original system's.

Labels come from closed sets: stages, legs, outcomes, reasons. Never a query, an id, a tenant.
"""

from __future__ import annotations

from typing import Final

from chassis.telemetry import Kind, Metric

LATENCY: Final = Metric(
    "rag_retrieval_latency_seconds", Kind.HISTOGRAM, "Time of one retrieval, from the snapshot to the reranker."
)
FALLBACK: Final = Metric(
    "rag_retrieval_fallback_total", Kind.COUNTER, "Retrievals that had to do without something, by what.", ("reason",)
)
RETRIEVALS: Final = Metric(
    "rag_retrieval_requests_total",
    Kind.COUNTER,
    "Retrievals, by what answered (hybrid, dense, lexical, none).",
    ("source",),
)
STAGE_SECONDS: Final = Metric(
    "rag_retrieval_stage_seconds", Kind.HISTOGRAM, "Time of one stage of a retrieval.", ("stage",)
)
PASSAGES: Final = Metric(
    "rag_retrieval_passages",
    Kind.HISTOGRAM,
    "Passages returned by one retrieval.",
    buckets=(0, 1, 2, 5, 10, 20, 50, 100),  # top_k goes to 100; most ask for 5
)
REJECTED_HITS: Final = Metric(
    "rag_retrieval_rejected_hits_total",
    Kind.COUNTER,
    "Hits a store should not have returned, kept from the caller. Anything but 0 is an incident.",
)
LEG_SECONDS: Final = Metric(
    "rag_retrieval_leg_seconds", Kind.HISTOGRAM, "Time of one search, by leg and outcome.", ("leg", "outcome")
)
RERANK_SECONDS: Final = Metric(
    "rag_retrieval_rerank_seconds", Kind.HISTOGRAM, "Time of one reranking, by outcome.", ("outcome",)
)
INGESTED: Final = Metric(
    "rag_ingest_documents_total", Kind.COUNTER, "Documents put, by outcome (STORED, UNCHANGED, FAILED).", ("outcome",)
)
INGEST_SECONDS: Final = Metric(
    "rag_ingest_document_seconds", Kind.HISTOGRAM, "Time of one document, from its content to its commit.", ("outcome",)
)
INGEST_BYTES: Final = Metric("rag_ingest_bytes_total", Kind.COUNTER, "Bytes of documents stored.")
INGEST_CHUNKS: Final = Metric("rag_ingest_chunks_total", Kind.COUNTER, "Chunks stored.")
DELETED: Final = Metric("rag_ingest_deleted_total", Kind.COUNTER, "Documents deleted.")

RETRIEVER_METRICS: Final = (
    LATENCY,
    FALLBACK,
    RETRIEVALS,
    STAGE_SECONDS,
    PASSAGES,
    REJECTED_HITS,
    LEG_SECONDS,
    RERANK_SECONDS,
    INGESTED,
    INGEST_SECONDS,
    INGEST_BYTES,
    INGEST_CHUNKS,
    DELETED,
)

SPAN_RETRIEVE: Final = "rag.retrieve"  # the original's
SPAN_INGEST: Final = "rag.ingest.document"

# Span attributes; all but the last two are the original's names.
TOP_K: Final = "rag.request.topK"
FILTERS: Final = "rag.request.filters"  # how many conditions; their values may be personal
RETRIEVAL_COUNT: Final = "rag.retrieval.count"
RETRIEVAL_SOURCE: Final = "rag.retrieval.source"
DOCS_IDS: Final = "rag.docs.ids"
FALLBACK_REASON: Final = "rag.fallback.reason"
GENERATION: Final = "rag.collection.generation"
OUTCOME: Final = "rag.ingest.outcome"

MAX_DOCS_IDS: Final = 10  # a span is no place for a hundred ids
