"""Every PromQL query of deploy/, with where it stands: panels, rules, alerts, autoscalers, analyses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from tests.deploy.documents import DEPLOY, files, read

OBSERVABILITY = DEPLOY / "observability"
RULES = OBSERVABILITY / "prometheus" / "rules"
BOARD = OBSERVABILITY / "grafana" / "dashboards" / "rag-main.json"
_LIMIT = re.compile(r"(?s)(?P<number>.*) (?:>|<) [\d.]+\s*")


@dataclass(frozen=True, slots=True)
class Query:
    """Attributes:
    expr: With Grafana's and Argo's variables replaced by what they would be here.
    """

    where: str
    expr: str

    def __str__(self) -> str:
        return self.where


def all_queries() -> list[Query]:
    return [*panels(), *rules(), *triggers(), *analyses()]


def panels() -> Iterator[Query]:
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "5m")
            yield Query(f"panel: {panel['title']} {target['refId']}", expr)


def rules() -> Iterator[Query]:
    """Recording rules as they are; of an alert the number that is compared, which must always be there."""
    for path in files(RULES):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield Query(f"rule: {rule['record']}", rule["expr"])
                else:
                    limit = _LIMIT.fullmatch(rule["expr"])
                    assert limit is not None, f'{rule["alert"]}: an alert is "number > limit"'
                    yield Query(f"alert: {rule['alert']}", limit["number"])


def triggers() -> Iterator[Query]:
    for document in (d for path in files(DEPLOY / "scaling", DEPLOY / "triton" / "kserve") for d in read(path)):
        if document["kind"] == "ScaledObject":
            for trigger in document["spec"]["triggers"]:
                if trigger["type"] == "prometheus":
                    where = f"{document['metadata']['name']} {trigger['name']}"
                    yield Query(f"autoscaler: {where}", trigger["metadata"]["query"])


# What analyses are told, as tests.deploy.scraping labels its services. There is one retriever: it is as good as itself.
_TOLD = {"service": "orchestrator", "canary": "canary", "stable": "stable", "preview": "stable", "active": "stable"}


def analyses() -> Iterator[Query]:
    for document in (d for path in files(DEPLOY / "components") for d in read(path)):
        if document["kind"] == "AnalysisTemplate":
            for metric in document["spec"]["metrics"]:
                expr = metric["provider"]["prometheus"]["query"]
                for argument in document["spec"]["args"]:
                    expr = expr.replace(f"{{{{args.{argument['name']}}}}}", _TOLD[argument["name"]])
                yield Query(f"analysis: {metric['name']}", expr)
