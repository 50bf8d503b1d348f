"""`askmesh rig up`: a developer's cluster, used by an installation started with what it prints."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from askmesh.cli import root
from askmesh.client import AsyncClient
from askmesh.documents import DocumentFile
from askmesh.local import running
from askmesh.local_settings import LocalSettings
from askmesh.rig.catalogue import PARTS
from askmesh.rig.cluster import MEMBERS
from askmesh.rig.part import RigMissing
from askmesh.rig.triton import STANDIN_NAME
from chassis.settings import load
from tests.rig import missing

ENOUGH_S = 240.0  # four servers, one after another, on a machine that does much else


pytestmark = pytest.mark.timeout(600)  # each starts servers of its own


@pytest.fixture(autouse=True)
def _no_rig_of_the_developers(monkeypatch, tmp_path):
    """A rig says where it is in the runtime folder: the tests' must not be found by the developer, nor the reverse."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@asynccontextmanager
async def rig_up(*arguments):
    """The command as a developer types it; yields what it exports, ends it by Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "askmesh", "rig", "up", *arguments, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(ENOUGH_S):
            settings = dict([line async for line in exports(process.stdout)])
        yield settings
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGINT)
        assert await process.wait() == 0


async def exports(lines):
    async for line in lines:
        text = line.decode().strip()
        if text.startswith("# Or, in another shell"):
            return
        if text.startswith("export "):
            yield text.removeprefix("export ").split("=", 1)


def need(name):
    try:
        MEMBERS[name].part.require()
    except RigMissing as absent:
        missing(absent.name, absent.how)


async def test_an_installation_uses_the_redis_it_is_told_of(tmp_path, monkeypatch):
    need("redis")
    async with rig_up("redis") as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        chosen = load(LocalSettings, data_folder=tmp_path / "data", http_port=0, grpc_port=0)
        async with running(chosen) as local, AsyncClient(local.grpc_address, collection="docs") as client:
            lease = DocumentFile("lease.md", "# Leases\n\nA lease lasts 30 seconds. The purger removes dead versions.")
            [_] = [stored async for stored in client.ingest([lease])]
            # Several: a lookup on a busy machine may miss its 50 ms.
            statuses = [(await client.ask("How long does a lease last?")).started.cache for _ in range(10)]
        assert "HIT_EXACT" in statuses
        stored = await keys_in(settings["ASKMESH_ORCHESTRATOR_REDIS_URL"])
    assert any(b"entry:" in key for key in stored)


async def test_an_installation_asks_the_reranker_it_is_told_of(tmp_path, monkeypatch):
    need("reranker")
    async with rig_up("reranker") as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("ASKMESH_RETRIEVER_RETRIEVAL_TIMEOUT_MS", "5000")  # what is judged, not how fast
        chosen = load(LocalSettings, data_folder=tmp_path / "data", http_port=0, grpc_port=0)
        async with running(chosen) as local, AsyncClient(local.grpc_address, collection="docs") as client:
            files = [DocumentFile(f"{name}.md", f"# {name}\n\nA lease lasts 30 {name}.") for name in ("days", "weeks")]
            assert [stored.outcome async for stored in client.ingest(files)] == ["STORED", "STORED"]
            found = await client.search("How many weeks does a lease last?")
    assert [passage.rerank.rank for passage in found.passages] == [1, 2]
    assert found.passages[0].document_id == "weeks.md"
    assert list(found.degraded) == []


def test_without_names_the_cluster_has_no_reranker():
    assert [name for name, member in MEMBERS.items() if member.is_extra] == ["reranker"]


async def keys_in(url):
    async with Redis.from_url(url) as client:
        return await client.keys("askmesh:*")


async def test_an_installation_keeps_its_documents_in_the_stores_it_is_told_of(tmp_path, monkeypatch):
    need("opensearch")
    need("weaviate")
    async with rig_up("opensearch", "weaviate") as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RETRIEVAL_TIMEOUT_MS", "5000")  # both services': what is found, not how fast
        for folder in ("one", "another"):  # nothing is left in a folder: the second finds what the first stored
            chosen = load(LocalSettings, data_folder=tmp_path / folder, http_port=0, grpc_port=0)
            async with running(chosen) as local, AsyncClient(local.grpc_address, collection="docs") as client:
                lease = DocumentFile("lease.md", "# Leases\n\nA lease lasts 30 seconds.")
                outcomes = [stored.outcome async for stored in client.ingest([lease])]
                answer = await client.ask("How long does a lease last?")
            assert "30 seconds" in answer.text
            assert list(answer.completed.degraded) == []
            assert outcomes == ["STORED" if folder == "one" else "UNCHANGED"]


async def up_once(folder, **environment):
    """`askmesh up --profile cluster --once`: its exit code, and what it printed to either stream."""
    arguments = ("--profile", "cluster", "--once", "--http-port", "0", "--grpc-port", "0", "--data", str(folder))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "askmesh", "up", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), ENOUGH_S)
    return process.returncode, out.decode(), err.decode()


# What is said and by whom, not how fast: on a busy machine a search outlasts 250 ms and a lookup 50.
PATIENT = {"RETRIEVAL_TIMEOUT_MS": "5000", "ASKMESH_ORCHESTRATOR_REDIS_TIMEOUT_MS": "5000"}


async def test_the_cluster_profile_answers_from_all_engines_and_then_from_the_cache(tmp_path):
    for name in MEMBERS:
        need(name)
    async with rig_up() as settings:
        code, shown, errors = await up_once(tmp_path / "data", **PATIENT)
        stored = await keys_in(settings["ASKMESH_ORCHESTRATOR_REDIS_URL"])
    assert code == 0, shown + errors
    assert "cancelled answers are never cached. [" in shown
    assert "caching.md" in shown
    first, again = [line for line in shown.splitlines() if line.startswith(STANDIN_NAME)]
    assert "cache skipped · supported" in first
    assert "cache hit exact · supported" in again
    assert "Weaviate found [" in shown
    assert "OpenSearch found [" in shown
    assert "Degraded:" not in shown
    assert any(b"entry:" in key for key in stored)
    assert settings["ASKMESH_ORCHESTRATOR_REDIS_SECRET"] not in shown + errors
    assert not (tmp_path / "data").exists()  # nothing is kept on this side


async def test_the_cluster_profile_without_a_cluster_says_how_to_get_one(tmp_path):
    code, _, errors = await up_once(tmp_path / "data")
    assert code == 3
    assert "no address of OpenSearch, Weaviate, Redis, Triton: start `askmesh rig up`" in errors
    assert "Traceback" not in errors


async def test_the_servers_are_gone_after_it_was_stopped(tmp_path):
    need("redis")
    async with rig_up("redis", "--env", str(tmp_path / "env")) as settings:
        port = int(settings["ASKMESH_ORCHESTRATOR_REDIS_URL"].rsplit(":", 1)[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        assert (tmp_path / "env").read_text().splitlines() == [f"export {n}={v}" for n, v in settings.items()]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


def test_status_names_every_part():
    shown = CliRunner().invoke(root, ["rig", "status"])
    assert [line.split()[0] for line in shown.output.splitlines()] == [part.name for part in PARTS]


def test_a_missing_server_is_one_line_that_says_how_to_get_it(tmp_path):
    environment = {**os.environ, "ASKMESH_RIG": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "askmesh", "rig", "up"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "is not on this machine: run `make rig" in done.stderr
    assert "Traceback" not in done.stderr
