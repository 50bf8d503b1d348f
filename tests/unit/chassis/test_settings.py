"""Where settings come from, and how mistakes in them are told."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, SecretStr, ValidationError

from chassis.errors import SettingsInvalid
from chassis.settings import GRPC_SERVER_FIELDS, Also, CommaList, ServiceSettings, load, service_config


class ShopSettings(ServiceSettings):
    model_config = service_config("ASKMESH_RETRIEVER_")

    top_k: Annotated[int, Also("TOP_K", "RETRIEVAL_K")] = Field(5, ge=1)
    legs: CommaList = ("dense", "lexical")
    redis_url: SecretStr = SecretStr("")


@pytest.fixture
def env(monkeypatch):
    for name in ("TOP_K", "RETRIEVAL_K", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, value) for name, value in values.items()]


def refusal(**given) -> str:
    with pytest.raises(SettingsInvalid) as refused:
        load(ShopSettings, **given)
    return refused.value.message


def test_without_anything_set_the_defaults_hold():
    assert load(ShopSettings).top_k == 5


def test_a_service_s_own_name_wins_over_the_common_one_and_an_argument_over_both(env):
    env(ASKMESH_LOG_LEVEL="error", ASKMESH_RETRIEVER_LOG_LEVEL="debug", ASKMESH_DRAIN_S="7", ASKMESH_MAX_QUEUE="9")
    settings = load(ShopSettings, max_queue=3)
    assert (settings.log_level, settings.drain_s, settings.max_queue) == ("debug", 7.0, 3)


def test_older_names_count_where_the_new_one_is_not_set(env):
    env(RETRIEVAL_K="8")
    assert load(ShopSettings).top_k == 8
    env(ASKMESH_RETRIEVER_TOP_K="9")
    assert load(ShopSettings).top_k == 9


def test_the_collector_is_found_by_opentelemetry_s_own_name(env):
    env(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317")
    assert load(ShopSettings).otlp_endpoint == "http://collector:4317"


def test_lists_are_separated_by_commas(env):
    env(ASKMESH_RETRIEVER_LEGS=" dense, lexical ,,")
    assert load(ShopSettings).legs == ("dense", "lexical")


def test_every_mistake_is_told_at_once_by_name_and_without_its_value(env):
    env(
        ASKMESH_RETRIEVER_TOP_K="hunter2",
        ASKMESH_RETRIEVER_DRAIN_S="-1",
        ASKMESH_RETRIEVER_LEGS="[broken",
        ASKMESH_LOG_LEVEL="hunter3",
        ASKMESH_RETRIEVER_TOPK="hunter4",
    )
    message = refusal()
    names = ("RETRIEVER_TOP_K", "RETRIEVER_DRAIN_S", "RETRIEVER_LOG_LEVEL", "RETRIEVER_TOPK")
    assert all(f"ASKMESH_{name}:" in message for name in names)
    assert "hunter" not in message


def test_a_bad_secret_never_shows(env):
    env(ASKMESH_RETRIEVER_REDIS_URL="redis://u:hunter2@h")
    assert "hunter2" not in repr(load(ShopSettings))
    assert "hunter2" not in refusal(top_k=0)


@pytest.mark.parametrize("name", ["ASKMESH_RETRIEVER_TOPK", "ASKMESH_RETREIVER_TOP_K"])
def test_an_unknown_name_is_told_with_the_nearest_known_one(env, name):
    env(**{name: "5"})
    assert f"{name}: no such setting; did you mean ASKMESH_RETRIEVER_TOP_K?" in refusal()


def test_names_of_other_services_are_not_this_one_s_business(env):
    env(ASKMESH_ORCHESTRATOR_LLM_URL="x", ASKMESH_GATEWAY_PORT="1", ASKMESH_RIG="/x", ASKMESH_LOCAL_X="1")
    assert load(ShopSettings).top_k == 5


def test_what_kubernetes_injects_for_a_service_of_that_name_is_not_a_mistake(env):
    env(
        ASKMESH_RETRIEVER_SERVICE_HOST="10.0.0.1",
        ASKMESH_RETRIEVER_SERVICE_PORT_GRPC="50051",
        ASKMESH_RETRIEVER_PORT="tcp://10.0.0.1:50051",
        ASKMESH_RETRIEVER_PORT_50051_TCP_ADDR="10.0.0.1",
    )
    assert load(ShopSettings).top_k == 5


def test_settings_cannot_be_changed_later():
    with pytest.raises(ValidationError):
        load(ShopSettings).top_k = 3


def test_every_setting_says_what_it_is():
    assert [name for name, field in ServiceSettings.model_fields.items() if not field.description] == []


class DoorSettings(ServiceSettings):
    model_config = service_config("ASKMESH_GATEWAY_")
    unused = GRPC_SERVER_FIELDS


def test_a_setting_a_service_has_no_use_for_is_told_instead_of_ignored(env):
    env(ASKMESH_GATEWAY_AUTH="api-key")
    with pytest.raises(SettingsInvalid, match="ASKMESH_GATEWAY_AUTH: no such setting"):
        load(DoorSettings)


def test_the_common_name_of_such_a_setting_is_for_the_other_services(env):
    env(ASKMESH_AUTH="api-key")
    assert load(DoorSettings).log_level == "info"
