"""What several suites of the retriever need."""

from __future__ import annotations

import pytest

from retriever.ingest.parsing import Parser


@pytest.fixture
async def parser():
    async with Parser() as parser:
        yield parser
