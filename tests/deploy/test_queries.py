"""Every query of the manifests finds something in a real Prometheus that scrapes our real services; none names a metric
that they do not declare."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
import yaml
from rag.orchestrator.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from rag.retriever.v1 import document_pb2, document_pb2_grpc

import gateway.app
import gateway.metrics
import orchestrator.app
import orchestrator.metrics
import retriever.app
import retriever.metrics
from askmesh.rig import prometheus
from askmesh.rig.ports import free_ports
from askmesh.rig.process import HOST
from askmesh.rig.prometheus import running_prometheus
from chassis.metrics import CHASSIS_METRICS
from chassis.settings import load
from chassis.telemetry import Kind
from gateway.settings import GatewaySettings
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings
from tests.deploy.queries import OBSERVABILITY, RULES, all_queries, rules
from tests.deploy.scraping import WAIT_S, Prometheus, Scraped, scrape_config
from tests.rig import missing
from tests.rig_servers import rigged

QUERIES = all_queries()
OURS = re.compile(r"\b(?:askmesh|rag|grpc|http_server)_\w+")
DECLARED = (*CHASSIS_METRICS, *gateway.metrics.ALL, *orchestrator.metrics.METRICS, *retriever.metrics.RETRIEVER_METRICS)
LABELS = ("grpc_service", "grpc_method", "grpc_code")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scraped(tmp_path_factory) -> AsyncIterator[Prometheus]:
    """The services of a cluster in small, having answered this and that, and a Prometheus that has seen it."""
    folder = tmp_path_factory.mktemp("scraped")
    async with AsyncExitStack() as stack:
        services = await started(stack, folder)
        config = scrape_config(services, every="1s")
        server = await stack.enter_async_context(rigged(lambda: running_prometheus(folder / "prometheus", config)))
        found = Prometheus(server.url)
        await found.until(f'count(up{{job="askmesh"}} == 1) == {len(services)}')
        for turn in ("before", "after"):  # a rate is what came between two scrapes
            await used(services, turn)
            await found.until(f"sum(askmesh_asks_total) >= {ASKS * (1 + (turn == 'after'))}")
            # Each service is scraped at a moment of its own within the second.
            await found.until(f'min(timestamp(up{{job="askmesh"}})) > {time.time()}')
        await found.until("sum(rate(askmesh_asks_total[1m])) > 0")
        await found.until("askmesh:answers:rate5m > 0")
        yield found


ASKS = 6  # of one turn of used()


async def started(stack: AsyncExitStack, folder: Path) -> list[Scraped]:
    """A retriever, an orchestrator as it is and a canary whose model sleeps, and the gateway."""
    made: list[Scraped] = []

    async def serve(app: str, role: str, opened: Any, port: int) -> str:
        served = await stack.enter_async_context(opened)
        made.append(Scraped(app, role, getattr(served, "address", "") or served.url, port))
        return made[-1].address

    ports = free_ports(4)
    common: list[dict[str, Any]] = [{"metrics_listen": f"{HOST}:{port}", "log_level": "error"} for port in ports]
    patient = {"retrieval_timeout_ms": 5_000}  # what is asked here is what is counted, not how fast
    stored = load(RetrieverSettings, listen=f"{HOST}:0", data_folder=folder / "data", **patient, **common[0])
    retrieving = await serve("retriever", "stable", retriever.app.build(stored), ports[0])
    prices = {"price_per_million_prompt_tokens": 1.0, "price_per_million_completion_tokens": 2.0}
    asked = {"listen": f"{HOST}:0", "retriever_address": retrieving, "retrieve_timeout_ms": 5_000, **prices}
    plain = load(OrchestratorSettings, **asked, **common[1])
    orchestrating = await serve("orchestrator", "stable", orchestrator.app.build(plain), ports[1])
    asleep = {"generator": "triton", "triton_address": f"{HOST}:1", "triton_scales_to_zero": True}
    cold = load(OrchestratorSettings, **asked, **asleep, **common[2])
    await serve("orchestrator", "canary", orchestrator.app.build(cold), ports[2])
    web = load(GatewaySettings, port=0, orchestrator_address=orchestrating, retriever_address=retrieving, **common[3])
    await serve("gateway", "stable", gateway.app.build(web), ports[3])
    return made


async def used(services: list[Scraped], turn: str) -> None:
    """A document, a miss and a hit, an answer nothing supports, one without the model, and a mistake."""
    by_app = {(each.app, each.role): each.address for each in services}
    async with grpc.aio.insecure_channel(by_app["retriever", "stable"]) as channel:
        stub = document_pb2_grpc.DocumentServiceStub(channel)
        text = f"# Leases\n\nThe lease of {turn} lasts 30 seconds. Backups are made every hour.\n"
        document = document_pb2.DocumentInput(document_id=f"{turn}.md", text=text)
        request = document_pb2.PutDocumentRequest(collection="docs", document=document)
        await stub.PutDocument(request, timeout=WAIT_S)
    question = f"How long does the lease of {turn} last?"
    ask = orchestrator_pb2.AskRequest(collection="docs", question=question)
    for role in ("canary", "stable"):
        async with grpc.aio.insecure_channel(by_app["orchestrator", role]) as channel:
            await orchestrator_pb2_grpc.OrchestratorServiceStub(channel).Ask(ask, timeout=WAIT_S)
    async with httpx.AsyncClient(base_url=by_app["gateway", "stable"], timeout=WAIT_S) as client:
        for asked in (question, f"Who painted the ceiling in {turn}?", "How often are backups made?"):
            reply = await client.post("/v1/collections/docs:ask", json={"question": asked})
            assert reply.status_code == 200, reply.text
        assert (await client.post("/v1/collections/nowhere:ask", json={"question": "?"})).status_code == 404


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("query", QUERIES, ids=str)
async def test_a_query_finds_numbers(scraped, query):
    found = await scraped.ask(query.expr)
    assert found, f"empty: {query.expr}"
    assert not all(math.isnan(float(each["value"][1])) for each in found), f"no number: {query.expr}"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_query_for_a_label_that_nothing_has_is_empty(scraped):
    """As the original's board was: so the test above can fail."""
    assert await scraped.ask('sum(rate(askmesh_asks_total{application="orchestrator"}[1m]))') == []


@pytest.mark.asyncio(loop_scope="module")
async def test_the_numbers_are_those_of_what_was_done(scraped):
    """A spot check that queries are about what their names say."""
    (wanted,) = await scraped.ask('sum(askmesh_generations_wanted_total{model!="extractive"})')
    assert float(wanted["value"][1]) == 2  # the canary's asks, whose model sleeps
    (fallbacks,) = await scraped.ask('sum(rag_generator_fallback_total{reason="MODEL_COLD"})')
    assert float(fallbacks["value"][1]) == 2
    (wake,) = await scraped.ask(next(q.expr for q in QUERIES if q.where == "autoscaler: triton wanted"))
    assert 0 < float(wake["value"][1]) <= 1


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_query_names_metrics_that_are_declared(query):
    declared = {metric.name for metric in DECLARED if metric.kind is not Kind.HISTOGRAM}
    histograms = {metric.name for metric in DECLARED if metric.kind is Kind.HISTOGRAM}
    declared |= {name + part for name in histograms for part in ("_bucket", "_sum", "_count")}
    assert set(OURS.findall(query.expr)) - set(LABELS) <= declared


def test_the_board_is_what_its_table_gives():
    import runpy  # noqa: PLC0415  # only here

    made = runpy.run_path("deploy/scripts/dashboard.py")
    assert json.loads(made["TARGET"].read_text()) == made["board"](yaml.safe_load(made["SOURCE"].read_text()))


def test_the_board_has_what_the_original_claimed():
    titles = " ".join(query.where for query in QUERIES if query.where.startswith("panel"))
    for claimed in ORIGINAL:
        assert claimed in titles


ORIGINAL = (
    "Cache hit rate", "Average latency", "p95 latency", "p99 latency", "Total requests", "Fallback rate",
    "Estimated cost", "Tokens per second", "Request rate", "Cache hit ratio", "End-to-end latency",
    "Replicas by service", "Cost per answer", "Retriever Hit@K", "Token throughput",
)  # fmt: skip


def test_promtool_accepts_configuration_and_rules(tmp_path):
    """Less the discovery of pods, which Debian's Prometheus is built without."""
    found = prometheus.PART.find() or missing(prometheus.PART.name)
    config = yaml.safe_load((OBSERVABILITY / "prometheus" / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        job.pop("kubernetes_sd_configs", None)
    written = tmp_path / "prometheus.yml"
    written.write_text(yaml.safe_dump(config))
    for command in (["config", "--syntax-only", str(written)], ["rules", *map(str, RULES.glob("*"))]):
        done = subprocess.run([str(found / "promtool"), "check", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do():
    for path in RULES.glob("alerts.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                assert set(rule["annotations"]) == {"summary", "look"}
                assert rule["labels"]["severity"] in {"page", "ticket", "note"}
    assert list(rules())
