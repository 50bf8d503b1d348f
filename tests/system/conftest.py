"""One installation for all tests that only read or use collections of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.installation import Installation, start, stop, wait_for


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation with askmesh's own documents in it, shared by tests that read or use own collections."""
    made = start(tmp_path_factory.mktemp("data"))
    wait_for(made, "Ctrl-C")
    yield made
    assert stop(made) == 0, "\n".join(made.lines)
