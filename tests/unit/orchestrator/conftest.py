from __future__ import annotations

import pytest

from tests.unit.orchestrator.world import World


@pytest.fixture
def world():
    return World()
