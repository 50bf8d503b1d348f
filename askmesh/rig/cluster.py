"""A local cluster of the rig's servers, and the settings with which askmesh uses it.

A server that askmesh can be told to use has a Member here; `askmesh rig up` starts them and prints their settings.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from askmesh.rig import opensearch, redis, reranker, triton, weaviate
from askmesh.rig.part import Part
from askmesh.rig.process import Server

SECRET_BYTES = 32  # as long as the hash that it keys


@dataclass(frozen=True, slots=True)
class Member:
    """A server of the cluster.

    Attributes:
        run: Starts it with its data in a folder.
        settings: Environment variables with which askmesh uses it.
        is_extra: Started only when it is named: the cluster answers as well without it.
    """

    part: Part
    run: Callable[[Path], AbstractAsyncContextManager[Server]]
    settings: Callable[[Server], Mapping[str, str]]
    is_extra: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that runs; servers and the settings to use each, by the member's name."""

    servers: Mapping[str, Server]
    members: Mapping[str, Mapping[str, str]]

    @property
    def settings(self) -> Mapping[str, str]:
        """All members' settings."""
        return {name: value for settings in self.members.values() for name, value in settings.items()}


def redis_settings(server: Server) -> Mapping[str, str]:
    return {
        "ASKMESH_ORCHESTRATOR_CACHE": "redis",
        "ASKMESH_ORCHESTRATOR_REDIS_URL": server.url,
        "ASKMESH_ORCHESTRATOR_REDIS_SECRET": secrets.token_hex(SECRET_BYTES),
    }


def triton_settings(server: Server) -> Mapping[str, str]:
    return {
        "ASKMESH_ORCHESTRATOR_GENERATOR": "triton",
        "ASKMESH_ORCHESTRATOR_TRITON_ADDRESS": f"{server.host}:{server.port}",
        "ASKMESH_ORCHESTRATOR_MODEL_NAME": triton.STANDIN_NAME,
    }


def reranker_settings(server: Server) -> Mapping[str, str]:
    return {
        "ASKMESH_RETRIEVER_RERANKER": "triton",
        "ASKMESH_RETRIEVER_RERANKER_ADDRESS": f"{server.host}:{server.port}",
        "ASKMESH_RETRIEVER_RERANKER_REVISION": reranker.REVISION,
        "ASKMESH_RETRIEVER_RERANK_CANDIDATES": str(reranker.CANDIDATES),
    }


def opensearch_settings(server: Server) -> Mapping[str, str]:
    return {"ASKMESH_RETRIEVER_SEARCH": "cluster", "ASKMESH_RETRIEVER_OPENSEARCH_URL": server.url}


def weaviate_settings(server: Server) -> Mapping[str, str]:
    return {
        "ASKMESH_RETRIEVER_SEARCH": "cluster",
        "ASKMESH_RETRIEVER_WEAVIATE_URL": server.url,
        "ASKMESH_RETRIEVER_WEAVIATE_GRPC": f"{server.host}:{server.ports['grpc']}",
    }


MEMBERS: Mapping[str, Member] = {
    "opensearch": Member(opensearch.PART, opensearch.running_opensearch, opensearch_settings),
    "redis": Member(redis.PART, redis.running_redis, redis_settings),
    "reranker": Member(triton.PART, reranker.running_reranker, reranker_settings, is_extra=True),
    "triton": Member(triton.PART, triton.running_standins, triton_settings),
    "weaviate": Member(weaviate.PART, weaviate.running_weaviate, weaviate_settings),
}


@asynccontextmanager
async def running_cluster(folder: Path, names: Sequence[str] = ()) -> AsyncIterator[Running]:
    """Start members one after another and stop them in reverse.

    Args:
        folder: Each keeps its data and its log in a folder of its name below it.
        names: Of MEMBERS; none means all but the extra ones.
    Raises:
        RigMissing: one is not built; nothing is started then.
        RigFailed: one did not start.
    """
    usual = [name for name, member in MEMBERS.items() if not member.is_extra]
    members = {name: MEMBERS[name] for name in names or usual}
    for member in members.values():
        member.part.require()
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        settings: dict[str, Mapping[str, str]] = {}
        for name, member in members.items():
            servers[name] = await stack.enter_async_context(member.run(folder / name))
            settings[name] = member.settings(servers[name])
        yield Running(servers, settings)
