"""An object store in memory."""

from __future__ import annotations

import fsspec
import pytest


@pytest.fixture
def memory():
    """fsspec's memory://, emptied."""
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
