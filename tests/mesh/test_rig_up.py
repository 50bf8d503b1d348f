"""`askmesh rig up --mesh`: the whole system with sidecars, used with the commands it prints."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner

from askmesh.cli import root
from askmesh.rig import envoy, istio, kubernetes, opensearch, redis, sds, triton, weaviate
from askmesh.rig.part import RigMissing
from tests.rig import missing

PARTS = (envoy.PART, istio.PART, kubernetes.PART, opensearch.PART, redis.PART, sds.PART, triton.PART, weaviate.PART)
READY_S = 480  # 40 s in quiet
ANSWERED_S = 180  # the timeboxes are a cluster's own: until two cores have come to rest, asks are refused
RETRY_S = 1.0  # as RetryInfo says
LEASE = "# Leases\n\nA lease lasts 30 seconds. The purger removes dead versions."
GATEWAY = "http://gateway.rag.svc.cluster.local:8080"


@asynccontextmanager
async def rig_up(folder):
    """The command as a developer types it; yields the lines it prints, ends it by Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "askmesh", "rig", "up", "--mesh", "--data", str(folder),
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(READY_S):
            yield [line async for line in printed(process.stdout)]
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGINT)
        assert await process.wait() == 0


async def printed(lines):
    async for line in lines:
        yield line.decode().strip()
        if b"Ctrl-C stops" in line:
            return


async def run(*command):
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_document_is_stored_and_asked_through_every_sidecar(tmp_path):
    for part in PARTS:
        try:
            part.require()
        except RigMissing as absent:
            missing(absent.name, absent.how)
    async with rig_up(tmp_path) as lines:
        [curl] = [shlex.split(line.partition(": ")[2]) for line in lines if "curl --resolve" in line]
        reach = ["curl", "-sS", *curl[1:3], "-H"]
        document = f"{GATEWAY}/v1/collections/docs/documents/lease.md"
        stored = await run(*reach, "Content-Type: text/markdown", "-X", "PUT", "--data-binary", LEASE, document)
        question = json.dumps({"question": "How long does a lease last?", "cachePolicy": "CACHE_POLICY_BYPASS"})
        asked = [*reach, "Content-Type: application/json", "-d", question, f"{GATEWAY}/v1/collections/docs:ask"]
        async with asyncio.timeout(ANSWERED_S):
            while "text" not in (answer := json.loads(await run(*asked))):  # noqa: ASYNC110  # a refusal has no event
                await asyncio.sleep(RETRY_S)
    assert json.loads(stored)["outcome"] == "INGEST_OUTCOME_STORED"
    assert "30 seconds" in answer["text"]
    assert answer["started"]["model"] == triton.STANDIN_NAME
    replicas = re.findall(r"^# (\w+)-v1-\d+ at", "\n".join(lines), re.MULTILINE)
    assert sorted(replicas) == ["gateway", "orchestrator", "orchestrator", "retriever", "retriever"]


@pytest.mark.parametrize("also", [["redis"], ["--env", "settings"]])
def test_the_mesh_is_all_or_nothing(also):
    refused = CliRunner().invoke(root, ["rig", "up", "--mesh", *also])
    assert refused.exit_code == 2
    assert "--mesh starts everything" in refused.output
