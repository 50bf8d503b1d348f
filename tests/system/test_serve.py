"""Three processes, one service each, over TCP: what a cluster runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import httpx
import pytest

from askmesh import Client
from askmesh.documents import DocumentFile
from chassis.settings import load
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings

START_LIMIT_S = 60.0  # a loaded 2-core machine; alone it takes 2 s
RECOVERY_S = 10.0  # the connection and the breaker find out by trying again; alone it takes 1 s
QUESTION = {"question": "How often are backups made?"}
SECOND = {"question": "How many days of leave does everybody have?"}


@dataclass
class Served:
    """A service in a process of its own, and where it said that it listens."""

    process: subprocess.Popen[str]
    address: str

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def serve(role, **settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "askmesh", "serve", role],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(START_LIMIT_S, process.kill)
    killer.start()
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if found := re.search(rf"askmesh {role} serves at (\S+)", line):
            killer.cancel()
            threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
            return Served(process, found[1])
    raise AssertionError("".join(said))


@pytest.fixture
def mesh(tmp_path):
    """Starts the retriever again on the same port when asked to."""
    running = []

    def retriever(listen="127.0.0.1:0"):
        running.append(
            serve("retriever", ASKMESH_RETRIEVER_LISTEN=listen, ASKMESH_RETRIEVER_DATA_FOLDER=str(tmp_path / "data"))
        )
        return running[-1]

    first = retriever()
    running.append(
        serve(
            "orchestrator",
            ASKMESH_ORCHESTRATOR_LISTEN="127.0.0.1:0",
            ASKMESH_ORCHESTRATOR_RETRIEVER_ADDRESS=first.address,
        )
    )
    running.append(
        serve(
            "gateway",
            ASKMESH_GATEWAY_PORT="0",
            ASKMESH_GATEWAY_ORCHESTRATOR_ADDRESS=running[-1].address,
            ASKMESH_GATEWAY_RETRIEVER_ADDRESS=first.address,
        )
    )
    yield first, running[-1].address, retriever
    for served in running:
        if served.process.poll() is None:
            assert served.stop() == 0


def test_three_processes_answer_lose_the_retriever_and_recover(mesh):
    retriever, url, start_again = mesh
    with Client(retriever.address) as client:
        text = b"# Backups\n\nBackups are made every night at two.\n\n# Leave\n\nEverybody has thirty days of leave."
        [result] = client.ingest([DocumentFile("house.md", text)])
        assert result.outcome == "STORED"
    with httpx.Client(base_url=url, timeout=30) as http:
        answered = http.post("/v1/collections/docs:ask", json=QUESTION).json()
        assert "every night" in answered["text"]
        assert retriever.stop() == 0

        assert http.get("/readyz").status_code == 200  # it still degrades
        cached = http.post("/v1/collections/docs:ask", json=QUESTION).json()
        assert cached["text"] == answered["text"]
        assert [lost["reason"] for lost in cached["completed"]["degraded"]] == ["DEGRADED_REASON_RETRIEVER_UNAVAILABLE"]
        refused = http.post("/v1/collections/docs:ask", json=SECOND)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]

        start_again(retriever.address)
        deadline = time.monotonic() + RECOVERY_S
        while (again := http.post("/v1/collections/docs:ask", json=SECOND)).status_code == 503:
            assert time.monotonic() < deadline, again.text
            time.sleep(float(again.headers["retry-after"]))  # as a caller does
        assert "thirty days" in again.json()["text"], again.text


def test_services_find_each_other_without_settings():
    retriever, orchestrator, gateway = load(RetrieverSettings), load(OrchestratorSettings), load(GatewaySettings)
    assert orchestrator.retriever_address == retriever.listen
    assert gateway.retriever_address == retriever.listen
    assert gateway.orchestrator_address == orchestrator.listen
