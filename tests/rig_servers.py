"""The rig's servers as fixtures: one of each for the whole run. tests/conftest.py imports them, so every test has them.

A test that breaks its server (kills, pauses, fills it) starts its own instead: `async with running_redis(tmp_path)`.
A shared server is shared by the tests of one worker only, one after another: each begins by emptying it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

import pytest
import pytest_asyncio

from askmesh.rig.kubernetes import Kubernetes, running_kubernetes
from askmesh.rig.part import RigMissing
from askmesh.rig.process import Server
from askmesh.rig.redis import running_redis
from askmesh.rig.triton import running_standins
from askmesh.rig.weaviate import running_weaviate
from tests.rig import missing

S = TypeVar("S")


@asynccontextmanager
async def rigged(opened: Callable[[], AbstractAsyncContextManager[S]]) -> AsyncIterator[S]:
    """The server, or the test's end in one line where it is not built."""
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(opened())
        except RigMissing as absent:
            missing(absent.name, absent.how)
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with rigged(lambda: running_redis(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def weaviate_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with rigged(lambda: running_weaviate(tmp_path_factory.mktemp("weaviate"))) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def triton_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """With the stand-in models of deploy/triton/standin."""
    async with rigged(lambda: running_standins(tmp_path_factory.mktemp("triton"))) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kubernetes]:
    """A Kubernetes API that knows Istio, Gateway API, KEDA, Argo Rollouts and KServe; nothing acts on it."""
    async with rigged(lambda: running_kubernetes(tmp_path_factory.mktemp("kubernetes"))) as made:
        yield made
