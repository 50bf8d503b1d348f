"""When alerts fire and what autoscalers see, minute by minute, as Prometheus reckons it (promtool test rules)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from askmesh.rig import prometheus
from tests.deploy.queries import RULES, triggers
from tests.rig import missing

WANTED = 'askmesh_generations_wanted_total{app="orchestrator", model="gemma-3-1b-it"}'
EXTRACTIVE = 'askmesh_generations_wanted_total{app="orchestrator", model="extractive"}'
OK = 'askmesh_asks_total{outcome="ok"}'
UP = 'up{app="orchestrator", job="askmesh"}'


def judged(folder: Path, series: dict[str, str], **expected: Any) -> str:
    """promtool's verdict on series that are scraped every 15 s."""
    found = prometheus.PART.find() or missing(prometheus.PART.name)
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "15s", "input_series": inputs, **expected}
    written = folder / "test.yaml"
    rules = [str(path) for path in RULES.glob("*.yaml")]
    written.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(
        [str(found / "promtool"), "test", "rules", str(written)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def query(where: str) -> str:
    (found,) = [each.expr for each in triggers() if each.where == f"autoscaler: {where}"]
    return found


def sees(where: str, times: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """What a trigger's query gives at these times; None: nothing."""
    return [
        {
            "expr": f"round({query(where)}, 0.01)",
            "eval_time": time,
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for time, value in times.items()
    ]


def test_one_ask_wakes_the_model_and_is_remembered_for_as_long_as_loading_takes(tmp_path):
    series = {WANTED: "0x7 1x60", EXTRACTIVE: "0+1x70"}  # asked once at two minutes; the other never sleeps
    times = {"1m45s": 0.0, "2m15s": 1.0, "4m": 1.0, "6m30s": 1.0, "8m": 0.0}
    assert "SUCCESS" in judged(tmp_path, series, promql_expr_test=sees("triton wanted", times))


def test_an_outage_of_the_scrape_is_no_answer_and_not_zero(tmp_path):
    """KEDA takes no answer for an error (ignoreNullValues "false"), and an error keeps the replicas."""
    series = {
        WANTED: "0+1x20 stale _x60",
        'askmesh_asks_in_flight{app="orchestrator"}': "40x20 stale _x60",
    }
    expected = [
        *sees("triton wanted", {"4m": 1.0, "15m": None}),
        *sees("orchestrator asks-in-flight", {"4m": 40.0, "8m": None}),
    ]
    assert "SUCCESS" in judged(tmp_path, series, promql_expr_test=expected)


def test_requests_per_second_are_summed_over_retrievers_and_count_retrievals_only(tmp_path):
    method = 'grpc_service="rag.retriever.v1.RetrieverService"'
    series = {
        f'grpc_server_handled_total{{pod="a", {method}, grpc_method="Retrieve", grpc_code="OK"}}': "0+150x40",
        f'grpc_server_handled_total{{pod="b", {method}, grpc_method="Retrieve", grpc_code="UNAVAILABLE"}}': "0+150x40",
        f'grpc_server_handled_total{{pod="b", {method}, grpc_method="GetSnapshot", grpc_code="OK"}}': "0+900x40",
    }
    seen = sees("retriever requests-per-second", {"5m": 20.0})
    assert "SUCCESS" in judged(tmp_path, series, promql_expr_test=seen)


@pytest.mark.parametrize(
    ("alert", "series", "quiet", "firing"),
    [
        ("AnswersFail", {'askmesh_asks_total{outcome="overloaded"}': "0+1x80", OK: "0+50x80"}, "5m", "15m"),
        ("ModelWantedAndCold", {'rag_generator_fallback_total{reason="MODEL_COLD"}': "0+1x160"}, "15m", "30m"),
        ("ForeignHits", {"rag_retrieval_rejected_hits_total": "0x40 1x40"}, "5m", "12m"),
        ("TargetDown", {UP: "1x20 0x40"}, "6m", "12m"),
        ("MetricsMissing", {UP: "1x20 stale _x60"}, "4m", "14m"),
        ("BreakerOpen", {'askmesh_breaker_open{app="orchestrator", breaker="retriever"}': "0x20 1x40"}, "5m", "13m"),
    ],
)
def test_an_alert_fires_when_it_should_and_not_before(tmp_path, alert, series, quiet, firing):
    def verdict(time: str, *, is_firing: bool) -> str:
        fires = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
        samples = [{"labels": "{}", "value": 1.0}] if is_firing else []
        return judged(tmp_path, series, promql_expr_test=[{"expr": fires, "eval_time": time, "exp_samples": samples}])

    assert "SUCCESS" in verdict(quiet, is_firing=False)
    assert "SUCCESS" in verdict(firing, is_firing=True)
