"""A contract that a released client could not read is refused, and so is code that the contract does not give."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sys.executable).with_name("buf")
STEPS = runpy.run_path(str(ROOT / "deploy" / "scripts" / "check.py"))["STEPS"]
QUERY = re.compile(r"(string query =) 2;")  # RetrieveRequest.query


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the contracts, the released image beside them, that a test may break."""
    for name in ("protos", "third_party"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def buf(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BUF), *arguments], cwd=workspace, capture_output=True, text=True, check=False)


def breaking(workspace: Path) -> subprocess.CompletedProcess[str]:
    """The step of `make check`, on the copy."""
    _, *arguments = dict(STEPS)["buf breaking"]
    return buf(workspace, *arguments)


def test_the_contract_is_compatible_with_what_was_released(workspace):
    done = breaking(workspace)

    assert (done.returncode, done.stdout) == (0, "")


def test_a_field_with_another_number_is_refused(workspace):
    proto = workspace / "protos" / "rag" / "retriever" / "v1" / "retriever.proto"
    proto.write_text(QUERY.sub(r"\1 99;", proto.read_text(), count=1))

    done = breaking(workspace)

    assert done.returncode != 0
    assert 'field "2"' in done.stdout


def test_a_field_without_a_comment_is_refused(workspace):
    proto = workspace / "protos" / "rag" / "retriever" / "v1" / "retriever.proto"
    proto.write_text(re.sub(r"^ *//.*\n", "", proto.read_text(), flags=re.MULTILINE))

    done = buf(workspace, "lint")

    assert done.returncode != 0
    assert "should have a non-empty comment" in done.stdout


def test_generated_code_is_what_the_contracts_give():
    command = [sys.executable, "deploy/scripts/generate.py", "--check"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
