"""What some tests need and a bare machine lacks: real servers and tools, built by `make rig`.

A test that needs one calls its function first. Where it is missing the test is skipped with one line that says what and
how to get it; with REQUIRE_RIG=1 (as .ci/run sets it) the same line is a failure.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

MAKE_RIG = "run `make rig`"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """The browser Playwright drives: chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])."""
    found = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    return found or missing("Chromium")


def grpcurl_path() -> str:
    found = shutil.which("grpcurl") or newest_built("grpcurl")
    return found or missing("grpcurl")


def newest_built(name: str) -> str | None:
    """A tool in the rig's cache, where deploy/scripts/rig.py keeps <version>/<name>."""
    builds = sorted(rig_cache().glob(f"{name}-*/{name}"), key=lambda file: file.stat().st_mtime)
    return str(builds[-1]) if builds else None


def rig_cache() -> Path:
    cache = os.environ.get("ASKMESH_RIG")
    return Path(cache) if cache else Path.home() / ".cache" / "askmesh-rig"


def missing(name: str, how: str = MAKE_RIG) -> NoReturn:
    """End the test: skipped, or failed where the rig is required."""
    line = f"{name} is not on this machine: {how}"
    if os.environ.get("REQUIRE_RIG") == "1":
        pytest.fail(line, pytrace=False)
    pytest.skip(line)
