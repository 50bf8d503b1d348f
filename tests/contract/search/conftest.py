"""The adapters under test. A new set of leaves joins by one entry in ADAPTERS and passes everything here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from retriever.ingest.commit import Committer, Stores
from tests.contract.search.clusters import open_alone, open_cluster, open_with_opensearch
from tests.contract.search.faults import Interposed
from tests.contract.search.weaviates import open_with_weaviate

ADAPTERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Any]]] = {
    "cluster": open_cluster,
    "embedded": open_alone,
    "opensearch": open_with_opensearch,
    "weaviate": open_with_weaviate,
}


@pytest.fixture(params=sorted(ADAPTERS))
def open_leaves(request) -> Callable[[Path], AbstractAsyncContextManager[Any]]:
    """Opens a set of leaves: an object with .dense .lexical .heads .records .leases."""
    return ADAPTERS[request.param]


@pytest.fixture
async def leaves(open_leaves, tmp_path) -> AsyncIterator[Any]:
    async with open_leaves(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def stores(leaves) -> Stores:
    return Stores(heads=leaves.heads, records=leaves.records, dense=leaves.dense, lexical=leaves.lexical)


@pytest.fixture
async def committer(stores) -> AsyncIterator[Committer]:
    async with Committer(stores, owner="this process") as opened:
        yield opened


@pytest.fixture
def ports(stores) -> Stores:
    """The same stores, ready to misbehave."""
    return Stores(*(Interposed(each) for each in (stores.heads, stores.records, stores.dense, stores.lexical)))


@pytest.fixture
async def writer(ports) -> AsyncIterator[Committer]:
    """A committer over them."""
    async with Committer(ports, owner="this process") as opened:
        yield opened
