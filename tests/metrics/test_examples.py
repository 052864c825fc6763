"""The examples: programs that run, and a dashboard and alerts that name what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from support.metrics import make

from amplitude_moloco.metrics.catalogue import METRICS, PREFIX
from amplitude_moloco.metrics.prometheus import register
from amplitude_moloco.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples" / "metrics"
DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "grafana-dashboard.json").read_text("utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((EXAMPLES / "alerts.yml").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES += [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"][1:]]
OF_SERVERS = {"job", "instance"}
"""Labels that Prometheus adds."""


@pytest.fixture(scope="module")
def series() -> dict[str, list[dict[str, str]]]:
    """The labels of all series that a scrape shows, by the name of the sample."""
    with Sandbox() as sandbox:
        destination = make(sandbox.url)
        registry = CollectorRegistry()
        register(destination, registry=registry)
        found: dict[str, list[dict[str, str]]] = {}
        for family in registry.collect():
            for sample in family.samples:
                found.setdefault(sample.name, []).append(dict(sample.labels))
        destination.close(0)
    return found


def selectors(expression: str) -> list[tuple[str, str]]:
    """The metrics in an expression, each with its matchers."""
    return re.findall(rf"\b({PREFIX}_\w+)(?:\{{([^}}]*)\}})?", expression)


@pytest.mark.parametrize("expression", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_an_expression_names_what_there_is(
    expression: str, series: dict[str, list[dict[str, str]]]
) -> None:
    """Every metric in the dashboard and the alerts is shown, with each label that they use."""
    found = selectors(expression)
    assert found
    grouped = {
        label.strip()
        for by in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in by.split(",")
    }
    for name, matchers in found:
        assert name in series, name
        labels = series[name][0].keys() | OF_SERVERS
        for label, operator, text in re.findall(r'(\w+)(=~|=)"([^"]*)"', matchers):
            assert label in labels, f"{name} has no {label}"
            if operator == "=":
                assert any(each[label] == text for each in series[name]), f"{label}={text}"
        assert grouped <= labels, f"{name} has not all of {grouped}"


def test_every_metric_is_on_the_dashboard() -> None:
    """The dashboard leaves out no metric but those that its panels contain already."""
    shown = {name for query in QUERIES for name, _ in selectors(query)}
    left_out = {
        metric.name for metric in METRICS if not {metric.name, f"{metric.name}_bucket"} & shown
    }
    assert left_out == {
        f"{PREFIX}_{name}"
        for name in (
            "events_handed_on_total",
            "events_taken_over_total",
            "facts_untold_total",
            "buffered_events",
            "last_failure_timestamp_seconds",
        )
    }


def test_the_dashboard_can_be_imported() -> None:
    """It has a fixed uid, its data source is a variable, and no panel lies on another one."""
    assert DASHBOARD["uid"]
    assert DASHBOARD["schemaVersion"] >= 36
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
        "destination",
    ]
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells
                cells.add((x, y))
        assert place["x"] + place["w"] <= 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source["uid"] == "$datasource" for source in sources)
        assert panel["title"]
        assert panel["description"]


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"]
)
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Each alert has a severity, a summary, and a description."""
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description"}
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert all(re.search(rf"\bby \([^)]*\b{label}\b", rule["expr"]) for label in used)


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_for_prometheus_runs() -> None:
    """It prints the library's metrics, and the one of its hook."""
    printed = run("prometheus_page.py")
    assert (
        'amplitude_moloco_events_delivered_total{destination="moloco",sync="HOME"} 1.0' in printed
    )
    assert 'shop_event_problems_total{code="search_query missing"} 1.0' in printed


def test_the_example_for_opentelemetry_runs() -> None:
    """It prints what the provider collects, and the histogram of its hook."""
    printed = run("opentelemetry_provider.py")
    assert "shop.delivery.delay {'sync': 'HOME'} 1\n" in printed
    assert "'error.type': 'missing'} 1\n" in printed
