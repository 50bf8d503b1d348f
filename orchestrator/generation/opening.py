"""Which generator an orchestrator has: the arms of `settings.generator`."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx

from chassis.channel import open_channel
from chassis.errors import SettingsInvalid
from chassis.telemetry import Telemetry
from orchestrator.ports import Generator
from orchestrator.prompt import GEMMA_STOP
from orchestrator.settings import OrchestratorSettings
from orchestrator.types import ModelInfo


def open_generator(settings: OrchestratorSettings, telemetry: Telemetry, stack: AsyncExitStack) -> Generator | None:
    """The model's generator; None: the extractive one is the model. What it holds open is closed by `stack`.

    Opens no connection: a model server that is down at the start is down like any other time.

    Raises:
        SettingsInvalid: a setting is missing, or what the generator needs is not installed.
    """
    match settings.generator:
        case "extractive":
            return None
        case "openai":
            return _openai(settings, stack)
        case "triton":
            return _triton(settings, telemetry, stack)


def _openai(settings: OrchestratorSettings, stack: AsyncExitStack) -> Generator:
    from orchestrator.generation.openai import OpenAiGenerator  # noqa: PLC0415  # only where it is used

    if not settings.llm_url:
        raise SettingsInvalid("ASKMESH_ORCHESTRATOR_LLM_URL is required with generator=openai")
    client = httpx.AsyncClient(trust_env=False)
    stack.push_async_callback(client.aclose)
    return OpenAiGenerator(
        client,
        base_url=settings.llm_url,
        model=_model(settings, str(settings.llm_system_role)),
        api_key=settings.llm_api_key if settings.llm_api_key.get_secret_value() else None,
        stop=GEMMA_STOP if settings.model_name.startswith("gemma") else (),
        has_system_role=settings.llm_system_role,
        stall_timeout_s=settings.token_stall_ms / 1_000,
    )


def _triton(settings: OrchestratorSettings, telemetry: Telemetry, stack: AsyncExitStack) -> Generator:
    try:  # imported here: the client is installed with askmesh[cluster] only
        from orchestrator.generation.triton import KEEPALIVE_MS, TritonGenerator  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsInvalid("ASKMESH_ORCHESTRATOR_GENERATOR: triton needs `pip install askmesh[cluster]`") from exc
    from orchestrator.generation.triton_codecs import CODECS  # noqa: PLC0415

    channel = open_channel(
        settings.triton_address,
        telemetry=telemetry,
        keepalive_ms=KEEPALIVE_MS,
        relays_caller=False,
        proxy=settings.outbound_proxy,
    )
    stack.push_async_callback(channel.close)
    channel.get_state(try_to_connect=True)  # the first answer should not wait for connecting
    return TritonGenerator(
        channel,
        model=_model(settings, settings.triton_codec, settings.triton_model, settings.triton_model_version),
        codec=CODECS[settings.triton_codec],
        served_as=settings.triton_model,
        version=settings.triton_model_version,
        stall_timeout_s=settings.token_stall_ms / 1_000,
        scales_to_zero=settings.triton_scales_to_zero,
    )


def _model(settings: OrchestratorSettings, *served: str) -> ModelInfo:
    """The model's identity; `served` is what else changes its words, for the cache's keys."""
    return ModelInfo(
        name=settings.model_name,
        fingerprint="|".join((settings.generator, settings.model_name, settings.model_revision, *served)),
        context_tokens=settings.context_tokens,
        price_per_million_prompt_tokens=settings.price_per_million_prompt_tokens,
        price_per_million_completion_tokens=settings.price_per_million_completion_tokens,
    )
