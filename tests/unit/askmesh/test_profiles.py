"""`--profile cluster`: where the engines are, by the environment or by the rig that runs."""

from __future__ import annotations

import json
import os
import stat

import pytest

from askmesh.profiles import ENGINES, use_cluster
from askmesh.rig.state import found, published, state_file
from chassis.errors import SettingsInvalid

MEMBERS = {
    "opensearch": {
        "ASKMESH_RETRIEVER_SEARCH": "cluster",
        "ASKMESH_RETRIEVER_OPENSEARCH_URL": "http://127.0.0.1:9200",
    },
    "weaviate": {
        "ASKMESH_RETRIEVER_WEAVIATE_URL": "http://127.0.0.1:8080",
        "ASKMESH_RETRIEVER_WEAVIATE_GRPC": "127.0.0.1:50051",
    },
    "redis": {
        "ASKMESH_ORCHESTRATOR_REDIS_URL": "redis://reader:hunter2@127.0.0.1:6379",
        "ASKMESH_ORCHESTRATOR_REDIS_SECRET": "0123456789abcdef",
    },
    "triton": {
        "ASKMESH_ORCHESTRATOR_TRITON_ADDRESS": "127.0.0.1:8001",
        "ASKMESH_ORCHESTRATOR_MODEL_NAME": "stand-in",
    },
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    """What the profile sets is this process's: here it must not outlive the test."""
    monkeypatch.setattr(os, "environ", {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})


def without(*names):
    return {name: settings for name, settings in MEMBERS.items() if name not in names}


def test_the_settings_are_found_while_the_rig_runs_and_not_after():
    assert found() == {}
    with published(MEMBERS) as is_found:
        assert is_found
        assert found() == MEMBERS
    assert found() == {}


def test_only_this_user_can_read_them():
    state_file().parent.mkdir()
    state_file().touch(mode=0o644)
    with published(MEMBERS):
        assert stat.S_IMODE(state_file().stat().st_mode) == 0o600


def test_what_a_killed_rig_left_is_not_taken_for_a_running_one():
    state_file().parent.mkdir()
    state_file().write_text(json.dumps(MEMBERS))
    assert found() == {}


def test_the_first_rigs_settings_stay_while_a_second_runs():
    with published(MEMBERS), published(without("redis")) as is_found:
        assert not is_found
        assert found() == MEMBERS
    assert found() == {}


def test_without_a_runtime_folder_the_state_is_kept_in_the_home_folder(tmp_path):
    del os.environ["XDG_RUNTIME_DIR"]
    os.environ["HOME"] = str(tmp_path)
    os.environ.pop("XDG_STATE_HOME", None)
    assert state_file() == tmp_path / ".local" / "state" / "askmesh" / "rig.json"


def test_a_running_rig_is_used_whole():
    with published(MEMBERS):
        use_cluster()
    for settings in MEMBERS.values():
        assert settings.items() <= os.environ.items()
    assert os.environ["ASKMESH_ORCHESTRATOR_CACHE"] == "redis"
    assert os.environ["ASKMESH_ORCHESTRATOR_GENERATOR"] == "triton"


def test_an_engine_that_the_environment_names_is_not_the_rigs():
    os.environ["ASKMESH_ORCHESTRATOR_TRITON_ADDRESS"] = "gpu:8001"
    with published(MEMBERS):
        use_cluster()
    assert os.environ["ASKMESH_ORCHESTRATOR_TRITON_ADDRESS"] == "gpu:8001"
    assert "ASKMESH_ORCHESTRATOR_MODEL_NAME" not in os.environ


def test_the_originals_names_count():
    os.environ["WEAVIATE_URL"] = "http://weaviate:8080"
    with published(without("weaviate")):
        use_cluster()
    assert "ASKMESH_RETRIEVER_WEAVIATE_URL" not in os.environ


def test_a_leaf_chosen_in_an_engines_place_needs_no_engine():
    os.environ["ASKMESH_ORCHESTRATOR_GENERATOR"] = "extractive"
    with published(without("triton")):
        use_cluster()
    assert os.environ["ASKMESH_ORCHESTRATOR_GENERATOR"] == "extractive"


def test_engines_that_are_nowhere_are_named_with_the_cure():
    with published(without("redis", "triton")), pytest.raises(SettingsInvalid) as refusal:
        use_cluster()
    assert "no address of Redis, Triton" in refusal.value.message
    assert "askmesh rig up" in refusal.value.message
    assert "ASKMESH_ORCHESTRATOR_REDIS_URL, ASKMESH_ORCHESTRATOR_TRITON_ADDRESS" in refusal.value.message


def test_a_shown_address_holds_no_password():
    with published(MEMBERS):
        use_cluster()
    assert [engine.where for engine in ENGINES] == [
        "127.0.0.1:9200",
        "127.0.0.1:8080",
        "127.0.0.1:6379",
        "127.0.0.1:8001",
    ]
