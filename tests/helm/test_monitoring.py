"""Alerts and dashboard ask for metrics that the service has."""

import json
import re
from typing import Any

import pytest

from service.domain import Timings
from service.telemetry import Metrics
from tests.helm.cases import CASES
from tests.support.charts import CHART, Rendered, render

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    files, values = CASES["monitoring"]
    return render({**values, "gpu": {"enabled": True}, "image": {"variant": "gpu"}}, *files)


def known() -> dict[str, set[str]]:
    """Names of series, with their labels."""
    metrics = Metrics()
    made: dict[str, set[str]] = {}
    for one in [*vars(metrics).values(), *vars(metrics.remote).values(), *vars(metrics.served).values()]:
        if hasattr(one, "_labelnames"):
            made |= {f"{one._name}{suffix}": set(one._labelnames) for suffix in SUFFIXES[one._type]}
    return made


def rules(rendered: Rendered) -> list[dict[str, Any]]:
    (group,) = rendered.one("PrometheusRule")["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def queries(rendered: Rendered) -> list[str]:
    board = json.loads(rendered.one("ConfigMap", "-dashboard")["data"]["parallax.json"])
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*asked, *(rule["expr"] for rule in rules(rendered))]


def test_every_query_asks_for_series_and_labels_that_there_are(rendered: Rendered) -> None:
    given = {"namespace", "service", "pod", "le"}  # by Prometheus and its operator
    series = known()
    assert len(series) > 15
    for query in queries(rendered):
        names = re.findall(r"parallax_\w+", query)
        assert names, query
        assert set(names) <= set(series), query
        labels = set().union(*(series[name] for name in names)) | given
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
        selected = set(re.findall(r"[{,]\s*(\w+)(?==|!=)", query))
        assert grouped | selected <= labels, query


def test_queries_name_stages_that_there_are(rendered: Rendered) -> None:
    stages = {stage for query in queries(rendered) for stage in re.findall(r'stage!?="(\w+)"', query)}
    assert stages <= set(Timings._fields)
    assert "total" in stages


def test_every_metric_of_the_service_is_on_the_dashboard(rendered: Rendered) -> None:
    asked = " ".join(queries(rendered))
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in known()}
    assert {family for family in families if family not in asked} == set()


def test_alerts_look_at_this_release_and_say_what_to_do(rendered: Rendered) -> None:
    for rule in rules(rendered):
        assert rule["expr"].count('namespace="shop", service="demo-parallax-metrics"') == len(
            re.findall(r"parallax_\w+\{", rule["expr"])
        )
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "action"} == set(rule["annotations"])
    assert any(rule["expr"].endswith("> 80") for rule in rules(rendered)), "four fifths of settings.max_queue"
    monitor, service = rendered.one("ServiceMonitor"), rendered.one("Service", "-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    main = rendered.one("Service", "demo-parallax")
    assert not monitor["spec"]["selector"]["matchLabels"].items() <= main["metadata"]["labels"].items()


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    board = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert all("$__rate_interval" in target["expr"] or "rate(" not in target["expr"] for target in panel["targets"])
