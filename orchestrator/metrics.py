"""The names of everything the orchestrator measures and puts on spans; the original's names are kept.

Labels are closed sets; no question, id or tenant is one.
"""

from __future__ import annotations

from typing import Final

from chassis.telemetry import Kind, Metric

# The original's
LATENCY: Final = Metric(
    "rag_orchestrator_latency_seconds", Kind.HISTOGRAM, "Seconds from an ask's arrival to its last event."
)
CACHE_HITS: Final = Metric("rag_cache_hit_total", Kind.COUNTER, "Asks answered from the cache, by tier.", ("tier",))
CACHE_MISSES: Final = Metric("rag_cache_miss_total", Kind.COUNTER, "Asks that were looked up and not found.")
FALLBACKS: Final = Metric(
    "rag_generator_fallback_total",
    Kind.COUNTER,
    "Answers put together from the sources instead of generated.",
    ("reason",),
)
TOKENS: Final = Metric(
    "rag_tokens_generated_total", Kind.COUNTER, "Tokens the generators made, those of cancelled asks too.", ("model",)
)
COST: Final = Metric("rag_cost_usd_total", Kind.COUNTER, "US dollars of answers made, by the price table.", ("model",))

# Ours
FIRST_TOKEN: Final = Metric(
    "askmesh_first_token_seconds",
    Kind.HISTOGRAM,
    "Seconds from an ask's arrival to its first character, by what the cache said (hit, joined, miss).",
    ("cache",),
)
ASKS: Final = Metric("askmesh_asks_total", Kind.COUNTER, "Asks that ended, by what came of them.", ("outcome",))
DEGRADED: Final = Metric(
    "askmesh_degraded_total", Kind.COUNTER, "Things that OK answers had to do without.", ("stage", "reason")
)
GROUNDING: Final = Metric("askmesh_grounding_total", Kind.COUNTER, "Answers by grounding.", ("grounding",))
CACHE: Final = Metric("askmesh_cache_total", Kind.COUNTER, "Asks by what the cache said.", ("status",))
SAVED_TOKENS: Final = Metric("askmesh_saved_tokens_total", Kind.COUNTER, "Tokens that hits and joined asks saved.")
SAVED_COST: Final = Metric("askmesh_saved_cost_usd_total", Kind.COUNTER, "US dollars that hits and joined asks saved.")
PROMPT_TOKENS: Final = Metric("askmesh_prompt_tokens_total", Kind.COUNTER, "Prompt tokens of answers made.", ("model",))
IN_FLIGHT: Final = Metric("askmesh_asks_in_flight", Kind.GAUGE, "Asks being answered now: the demand to scale on.")
GENERATIONS: Final = Metric("askmesh_generations_in_flight", Kind.GAUGE, "Generations under way now.", ("model",))
WANTED: Final = Metric(
    "askmesh_generations_wanted_total",
    Kind.COUNTER,
    "Generations asked of a model, whether it was there or not: the demand that wakes a sleeping one.",
    ("model",),
)
CACHE_SECONDS: Final = Metric(
    "askmesh_cache_seconds", Kind.HISTOGRAM, "Seconds of one operation of the answer cache.", ("operation",)
)
CACHE_FAILURES: Final = Metric(
    "askmesh_cache_failures_total", Kind.COUNTER, "Operations the answer cache failed or refused.", ("operation",)
)
CACHE_REJECTED: Final = Metric(
    "askmesh_cache_rejected_total", Kind.COUNTER, "Stored answers whose signature did not fit; served to nobody."
)
CACHE_NOT_STORED: Final = Metric(
    "askmesh_cache_not_stored_total", Kind.COUNTER, "Answers the cache had no room for, or that were too large."
)
HEDGED: Final = Metric("askmesh_hedged_total", Kind.COUNTER, "Retrievals that were tried a second time.")
FLIGHTS: Final = Metric(
    "askmesh_flights_total",
    Kind.COUNTER,
    "Generations that replicas may share, by what this one did for them (led, followed, alone).",
    ("role",),
)
MIRROR: Final = Metric(
    "askmesh_snapshot_mirror_total",
    Kind.COUNTER,
    "Snapshots by where they came from: hit, or from the retriever (filled, refused, asked, unavailable).",
    ("outcome",),
)
MIRROR_REJECTED: Final = Metric(
    "askmesh_snapshot_mirror_rejected_total", Kind.COUNTER, "Mirrored values that were not signed by us, or too old."
)
STAGE: Final = Metric("askmesh_stage_seconds", Kind.HISTOGRAM, "Seconds of one stage of an ask.", ("stage",))

METRICS: Final = (
    LATENCY,
    CACHE_HITS,
    CACHE_MISSES,
    FALLBACKS,
    TOKENS,
    COST,
    FIRST_TOKEN,
    ASKS,
    DEGRADED,
    GROUNDING,
    CACHE,
    SAVED_TOKENS,
    SAVED_COST,
    PROMPT_TOKENS,
    IN_FLIGHT,
    GENERATIONS,
    WANTED,
    CACHE_SECONDS,
    CACHE_FAILURES,
    CACHE_REJECTED,
    CACHE_NOT_STORED,
    HEDGED,
    FLIGHTS,
    MIRROR,
    MIRROR_REJECTED,
    STAGE,
)

# Spans and their attributes: the original's, and OpenTelemetry's for generative AI.
SPAN_ASK: Final = "rag.ask"
SPAN_RETRIEVE: Final = "rag.retrieve.invoke"
PROMPT_LENGTH: Final = "rag.prompt.length"
CACHE_HIT: Final = "rag.cache.hit"
CACHE_STATUS: Final = "rag.cache.status"
TTFT_MS: Final = "rag.ttft_ms"
TOKENS_TOTAL: Final = "rag.tokens.total"
MODEL_NAME: Final = "rag.model.name"
FALLBACK_REASON: Final = "rag.fallback.reason"
RETRIEVAL_COUNT: Final = "rag.retrieval.count"
TOP_K: Final = "rag.request.topK"
ANSWER_GROUNDING: Final = "rag.grounding"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
# The original's names for the same, which OpenTelemetry does not have: dashboards made for it go on working.
OLD_GEN_AI_MODEL: Final = "gen_ai.model"
OLD_GEN_AI_TTFT_MS: Final = "gen_ai.usage.ttft_ms"
OLD_GEN_AI_COMPLETION_TOKENS: Final = "gen_ai.completion.tokens"
GEN_AI_FINISH: Final = "gen_ai.response.finish_reasons"
EVENT_FIRST_TEXT: Final = "first text"
EVENT_PASSAGES: Final = "passages"
