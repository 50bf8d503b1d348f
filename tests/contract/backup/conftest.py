"""Two installations, each on its own set of leaves."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.contract.backup.sides import OPENERS, Side


@pytest.fixture
async def open_side(tmp_path):
    async with AsyncExitStack() as stack:

        async def open_one(kind: str, name: str) -> Side:
            return Side(await stack.enter_async_context(OPENERS[kind](tmp_path / name)))

        yield open_one


@pytest.fixture
async def source(open_side):
    return await open_side("embedded", "source")


@pytest.fixture(params=sorted(OPENERS))
async def target(request, open_side):
    return await open_side(request.param, "target")
