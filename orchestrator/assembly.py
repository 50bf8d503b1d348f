"""Puts the pipeline together from its ports: what app.py does with whatever leaves the settings chose."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass

from chassis.budget import Clock
from chassis.telemetry import current_trace_id
from orchestrator.answering import AnswerMaker, RetrievalLimits
from orchestrator.cache.guard import GUARD_VERSION, is_same_question
from orchestrator.cache.key import PipelineFingerprint
from orchestrator.lookup import CACHE_S, AnswerLookup, LookupLimits
from orchestrator.pipeline import AskPipeline, Surroundings
from orchestrator.ports import AnswerCache, Embedder, Generator, Retriever, SnapshotSource, TokenCounter
from orchestrator.prompt import PromptBuilder
from orchestrator.redaction import REDACTION_VERSION
from orchestrator.relay.flying import FlightRelay
from orchestrator.replay import TRIM_S
from orchestrator.settings import OrchestratorSettings
from orchestrator.speaking import Speaker, SpeakingLimits

SNAPSHOT_SHARE = 0.8  # of the timebox: 200 of 250 ms, for one read of the catalogue
SNAPSHOT_S = 0.035  # with a retrieval's timebox of 250 ms, 15 of the 300 ms are left for the reply
EXTRACT_S = 0.250  # an extractive answer takes 10-40 ms; kept free before the trim for it


@dataclass(frozen=True, slots=True)
class Leaves:
    """The adapters, decorated. `fallback` is `model` where there is no other; no `relay`: replicas share nothing."""

    snapshots: SnapshotSource
    retriever: Retriever
    embedder: Embedder | None
    model: Generator
    fallback: Generator
    cache: AnswerCache | None
    counter: TokenCounter
    relay: FlightRelay | None = None


def assemble(settings: OrchestratorSettings, leaves: Leaves) -> AskPipeline:
    """The pipeline these settings and leaves make."""
    clock = time.monotonic
    around = Surroundings(clock=clock, wall=time.time, new_id=lambda: secrets.token_hex(12), trace_id=current_trace_id)
    return AskPipeline(
        lookup=_lookup(settings, leaves, clock),
        maker=_maker(settings, leaves, clock),
        cache=leaves.cache,
        counter=leaves.counter,
        model=leaves.model.model.name,
        surroundings=around,
        relay=leaves.relay,
        store_s=_cache_s(settings),
    )


def processors() -> int:
    return os.cpu_count() or 1


def _lookup(settings: OrchestratorSettings, leaves: Leaves, clock: Clock) -> AnswerLookup:
    embedder = leaves.embedder
    fingerprint = PipelineFingerprint(
        generator=f"{leaves.model.model.fingerprint}|{settings.context_tokens}",
        prompt=_prompts(settings, leaves).fingerprint,
        embedder=embedder.fingerprint if embedder is not None else "",
        guard=GUARD_VERSION,
        redaction=REDACTION_VERSION,
    )
    limits = LookupLimits(
        snapshot_s=SNAPSHOT_SHARE * _timebox_s(settings),
        cache_s=_cache_s(settings),
        similarity=settings.cache_similarity,
        at_once=2 * _at_once(settings),
        patience_s=_timebox_s(settings),
    )
    return AnswerLookup(
        snapshots=leaves.snapshots,
        cache=leaves.cache,
        embedder=embedder,
        is_same_question=is_same_question,
        fingerprint=fingerprint,
        limits=limits,
        clock=clock,
    )


def _maker(settings: OrchestratorSettings, leaves: Leaves, clock: Clock) -> AnswerMaker:
    timebox_s = _timebox_s(settings)
    speaking = SpeakingLimits(
        longest_s=settings.generation_timeout_ms / 1_000,
        first_token_s=settings.first_token_ms / 1_000,
        before_deadline_s=TRIM_S + EXTRACT_S,
    )
    return AnswerMaker(
        retriever=leaves.retriever,
        embedder=leaves.embedder,
        speaker=Speaker(leaves.model, leaves.fallback, limits=speaking, clock=clock),
        prompts=_prompts(settings, leaves),
        counter=leaves.counter,
        limits=RetrievalLimits(timebox_s, timebox_s + SNAPSHOT_S, _at_once(settings)),
        clock=clock,
    )


def _prompts(settings: OrchestratorSettings, leaves: Leaves) -> PromptBuilder:
    return PromptBuilder(leaves.counter, settings.context_tokens, settings.instructions)


def _timebox_s(settings: OrchestratorSettings) -> float:
    return settings.retrieve_timeout_ms / 1_000


def _cache_s(settings: OrchestratorSettings) -> float:
    """Of one call of the cache: longer for a Redis that the operator says is further away."""
    return max(CACHE_S, settings.redis_timeout_ms / 1_000) if settings.cache == "redis" else CACHE_S


def _at_once(settings: OrchestratorSettings) -> int:
    return settings.max_retrievals or max(2, processors())
