"""docs/telemetry.md and the Grafana dashboard speak of the metrics that there are, and of no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from gateway_app import Gateway
from scraped_metrics import families

from parsegate.resolvers.metrics import Metric

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())


def test_each_metric_is_documented_as_it_is_declared() -> None:
    text = (ROOT / "docs" / "telemetry.md").read_text()
    rows = {
        row[0]: row
        for row in re.findall(
            r"^\| `(parsegate_\w+)` \| `([\w.]+)` \| (\w+) \| (.+?) \| (.+?) \| (.+) \|$", text, re.MULTILINE
        )
    }
    declared = {
        metric.exposed_name: (
            metric.exposed_name,
            metric.stat,
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels) or "–",
            rows.get(metric.exposed_name, ("",) * 6)[4],
            metric.description,
        )
        for metric in Metric.declared
    }
    assert rows == declared
    assert all("seconds" in row[4] for name, row in rows.items() if name.endswith("_seconds"))


def test_what_is_scraped_is_what_is_declared(gateway: Gateway) -> None:
    response = gateway.http.get("/metrics", headers={"Authorization": f"Bearer {gateway.operator_token()}"})
    assert response.headers["content-type"].startswith("text/plain; version=")
    shown = {(family.name, family.type, family.documentation) for family in families(response.text)}
    assert shown == {
        (metric.exposed_name.removesuffix("_total"), metric.kind, metric.description) for metric in Metric.declared
    }


def queries() -> list[str]:
    """The dashboard's queries for data, and those that fill its variables."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return asked + [entry["definition"] for entry in DASHBOARD["templating"]["list"] if "definition" in entry]


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    labels = {"job", "le"}
    names: set[str] = set()
    for metric in Metric.declared:
        labels |= set(metric.labels)
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {metric.exposed_name + suffix for suffix in suffixes}
    assert len(queries()) > 20
    for query in queries():
        used = re.findall(r"parsegate_\w+", query)
        assert used
        assert set(used) <= names, query
        by = {name for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(", ")}
        by |= set(re.findall(r"(\w+)=~?\"", query))
        assert by <= labels, query


def test_the_dashboard_shows_every_metric() -> None:
    asked = " ".join(queries())
    assert [metric.exposed_name for metric in Metric.declared if metric.exposed_name not in asked] == []


def test_the_dashboard_s_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
