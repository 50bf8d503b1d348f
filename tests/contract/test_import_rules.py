"""The import rules of `make check` refuse what they are there to refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
PACKAGES = ("chassis", "embedding", "retriever", "orchestrator", "gateway", "askmesh")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code that a test may break."""
    leave = shutil.ignore_patterns("__pycache__", "web", "*.pyc")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=leave)
    shutil.copytree(ROOT / "gen" / "rag", tmp_path / "rag", ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(module: Path, line: str) -> None:
    module.write_text(f"{module.read_text()}\n{line}\n")


def test_code_that_breaks_no_rule_passes(checkout):
    done = lint(checkout)

    assert done.returncode == 0, done.stdout


def test_every_forbidden_import_is_found_where_it_was_planted(checkout):
    plant(checkout / "retriever" / "fusion.py", "import grpc")
    plant(checkout / "orchestrator" / "prompt.py", "from rag.orchestrator.v1 import orchestrator_pb2")
    plant(checkout / "orchestrator" / "wire.py", "from retriever import filters")
    plant(checkout / "chassis" / "retry.py", "from embedding import ports")
    plant(checkout / "askmesh" / "client.py", "from gateway import settings")

    done = lint(checkout)

    assert done.returncode != 0
    for chain in (
        "retriever.fusion -> grpc",
        "orchestrator.prompt -> rag",
        "orchestrator.wire -> retriever",
        "chassis.retry -> embedding",
        "askmesh.client -> gateway",
    ):
        assert chain in done.stdout
