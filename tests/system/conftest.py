"""One installation for all tests that only read or use collections of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.installation import START_LIMIT_S, Installation, start, stop


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation with askmesh's own documents in it, shared by the tests that only read or use own collections."""
    made = start(tmp_path_factory.mktemp("data"))
    deadline = time.monotonic() + START_LIMIT_S
    while not any("Ctrl-C" in line for line in made.lines):
        assert made.process.poll() is None, "\n".join(made.lines)
        assert time.monotonic() < deadline, "\n".join(made.lines)
        time.sleep(0.05)  # another process's progress has no event to wait for
    yield made
    assert stop(made) == 0, "\n".join(made.lines)
