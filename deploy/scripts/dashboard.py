"""Makes Grafana's board from deploy/observability/grafana/rag-main.yaml: python deploy/scripts/dashboard.py [--check]

The board is a JSON file of a thousand lines that nobody can review; the YAML is what is reviewed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

GRAFANA = Path(__file__).resolve().parents[1] / "observability" / "grafana"
SOURCE = GRAFANA / "rag-main.yaml"
TARGET = GRAFANA / "dashboards" / "rag-main.json"
COLUMNS = 24  # of Grafana's grid
SIZES = {"stat": (3, 4), "timeseries": (8, 8)}  # width and height: eight numbers or three graphs beside each other
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}  # grafana/datasources.yaml

Object = dict[str, Any]


def board(written: Object) -> Object:
    """The dashboard as Grafana reads it."""
    panels: list[Object] = []
    top = height = 0
    for row in written["rows"]:
        panels.append(
            {"type": "row", "title": row["title"], "collapsed": False, "gridPos": _grid(0, top, (COLUMNS, 1))}
        )
        top += 1
        left = 0
        for panel in row["panels"]:
            width, height = SIZES[panel.get("kind", "timeseries")]
            if left + width > COLUMNS:
                left, top = 0, top + height
            panels.append({**_drawn(panel), "gridPos": _grid(left, top, (width, height))})
            left += width
        top += height
    return {
        "uid": written["uid"],
        "title": written["title"],
        "tags": ["askmesh"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": written["refresh"],
        "time": {"from": "now-30m", "to": "now"},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, start=1)],
    }


def _grid(left: int, top: int, size: tuple[int, int]) -> Object:
    return {"x": left, "y": top, "w": size[0], "h": size[1]}


def _drawn(panel: Object) -> Object:
    colours = zip(("yellow", "red"), panel.get("limits", ()), strict=False)
    steps = [{"color": "green", "value": None}, *({"color": name, "value": value} for name, value in colours)]
    return {
        "type": panel.get("kind", "timeseries"),
        "title": panel["title"],
        "description": panel["description"],
        "datasource": PROMETHEUS,
        "fieldConfig": {
            "defaults": {"unit": panel["unit"], "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": PROMETHEUS,
                "expr": query["expr"],
                "legendFormat": query.get("legend", ""),
            }
            for index, query in enumerate(panel["queries"])
        ],
    }


def main() -> int:
    text = json.dumps(board(yaml.safe_load(SOURCE.read_text("utf-8"))), indent=1) + "\n"
    if "--check" in sys.argv:
        return 0 if TARGET.read_text("utf-8") == text else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
