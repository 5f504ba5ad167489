"""What `/metrics` lists is what the chart's dashboard and alerts ask for."""

import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

CHART = Path(__file__).parents[2] / "helm" / "parallax"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def test_every_series_of_the_dashboard_and_of_the_alerts_is_one_that_metrics_tells_of(client: httpx.Client) -> None:
    text = client.get("/metrics").raise_for_status().text
    families = list(text_string_to_metric_families(text))
    there = {f"{family.name}{suffix}" for family in families for suffix in SUFFIXES[family.type]}
    for file in ("files/dashboard.json", "templates/monitoring.yaml", "templates/autoscaling.yaml"):
        asked = set(re.findall(r"\bparallax_[a-z_]+", (CHART / file).read_text(encoding="utf-8")))
        assert asked, file
        assert asked <= there, file
