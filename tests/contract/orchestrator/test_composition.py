"""What the orchestrator's settings may say, and under which names."""

from __future__ import annotations

import pytest

from chassis.errors import SettingsInvalid
from chassis.settings import load
from orchestrator.app import build
from orchestrator.settings import OrchestratorSettings


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"generator": "openai"}, "LLM_URL"),
        ({"cache": "redis"}, "REDIS_SECRET"),
        ({"cache": "redis", "redis_secret": "s" * 16, "redis_url": "http://x:hunter2@y"}, "REDIS_URL"),
    ],
)
async def test_a_choice_that_lacks_something_names_it(tmp_path, given, named):
    settings = load(OrchestratorSettings, listen=f"unix:{tmp_path}/o.sock", embedder="none", **given)
    with pytest.raises(SettingsInvalid, match=named):
        async with build(settings):
            pass


def test_the_originals_variables_are_read(monkeypatch):
    for name, value in {
        "RETRIEVER_URL": "http://rag-retriever:8081",
        "LLM_URL": "http://llm/v1",
        "MODEL_NAME": "gemma-2-9b-it",
        "CACHE_SIM_THRESHOLD": "0.93",
        "GEN_TIMEOUT_MS": "1800",
        "RAG_SYSTEM_PROMPT": "Write formally.",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load(OrchestratorSettings)
    assert settings.retriever_address == "rag-retriever:8081"
    assert settings.llm_url == "http://llm/v1"
    assert settings.model_name == "gemma-2-9b-it"
    assert settings.cache_similarity == 0.93
    assert settings.generation_timeout_ms == 1800
    assert settings.instructions == "Write formally."
