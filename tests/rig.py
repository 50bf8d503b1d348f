"""What some tests need and a bare machine lacks: real servers and tools, built by `make rig`.

A test that needs one calls its function first. Where it is missing the test is skipped with one line that says what and
how to get it; with REQUIRE_RIG=1 (as .ci/run sets it) the same line is a failure.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from askmesh.rig import catalogue, chromium

MAKE_RIG = "run `make rig`"


def chromium_path() -> str:
    """The browser Playwright drives: chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])."""
    found = chromium.find()
    return str(found) if found else missing("Chromium")


def grpcurl_path() -> str:
    built = catalogue.part("grpcurl").find()
    return shutil.which("grpcurl") or (str(built / "grpcurl") if built else missing("grpcurl"))


def missing(name: str, how: str = MAKE_RIG) -> NoReturn:
    """End the test: skipped, or failed where the rig is required."""
    line = f"{name} is not on this machine: {how}"
    if os.environ.get("REQUIRE_RIG") == "1":
        pytest.fail(line, pytrace=False)
    pytest.skip(line)
