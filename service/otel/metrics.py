"""The metrics that Prometheus scrapes, as OTLP has them: the same names but for `_total`, labels and buckets, counted once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric
from prometheus_client.samples import Sample

from models import __version__

Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """What a report says of itself. Times in nanoseconds since the epoch."""

    resource: Resource
    began: int
    """When counting began."""
    now: int

    def of(self, families: Iterable[Metric]) -> MetricsData:
        """Every family that has series, under one scope."""
        metrics = [metric for family in families for metric in self._metric(family)]
        scope = ScopeMetrics(InstrumentationScope("parallax", __version__), metrics, "")
        return MetricsData([ResourceMetrics(self.resource, [scope], "")])

    def _metric(self, family: Metric) -> Iterator[OtlpMetric]:
        data: Sum | Gauge | Histogram
        if family.type == "counter":
            data = Sum(self._numbers(family), AggregationTemporality.CUMULATIVE, is_monotonic=True)
        elif family.type == "gauge":
            data = Gauge(self._numbers(family))
        elif family.type == "histogram":
            data = Histogram(list(self._histograms(family)), AggregationTemporality.CUMULATIVE)
        else:
            return
        if data.data_points:
            yield OtlpMetric(family.name, family.documentation, "s" if family.name.endswith("_seconds") else "", data)

    def _numbers(self, family: Metric) -> Sequence[NumberDataPoint]:
        return [NumberDataPoint(dict(sample.labels), self.began, self.now, sample.value) for sample in family.samples]

    def _histograms(self, family: Metric) -> Iterator[HistogramDataPoint]:
        for labels, samples in _series(family).items():
            buckets = sorted((float(one.labels["le"]), one.value) for one in samples if one.name.endswith("_bucket"))
            counts = [count for _, count in buckets]  # Prometheus counts a value in every bucket that it fits, OTLP in the first
            yield HistogramDataPoint(
                attributes=dict(labels),
                start_time_unix_nano=self.began,
                time_unix_nano=self.now,
                count=int(counts[-1]),
                sum=next(one.value for one in samples if one.name.endswith("_sum")),
                bucket_counts=[int(counts[0]), *(int(more - less) for less, more in pairwise(counts))],
                explicit_bounds=[bound for bound, _ in buckets[:-1]],
                min=None,  # type: ignore[arg-type]  # nobody kept them, and the protocol does without
                max=None,  # type: ignore[arg-type]
            )


def _series(family: Metric) -> Mapping[Labels, Sequence[Sample]]:
    found: dict[Labels, list[Sample]] = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        found.setdefault(labels, []).append(sample)
    return found
