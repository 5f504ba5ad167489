"""What the service tells of itself: Prometheus metrics, and the Server-Timing header."""

import os
from collections import Counter as Counted
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    multiprocess,
    start_http_server,
)

from service.domain import Batch, Identity, Timings
from service.errors import ConfigurationError
from service.remote_metrics import RemoteMetrics
from service.served_metrics import Served, ServedMetrics
from service.settings import Settings
from service.tracing import SpanCounts

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of time stamps beside every counter: nobody reads it

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client's own variable, read as it is imported: workers write their metrics into files there."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
FLUSH_AT = 512
"""Timings, and batches, that are kept before they are counted."""

SIZES = (1, 2, 4, 8, 16, 32, 64)

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Registry(CollectorRegistry):
    """Brings what shows a state up to date before it is collected, whoever asks."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        super().__init__()
        self._refresh = refresh

    def collect(self) -> Iterator[Metric]:
        self._refresh()
        yield from super().collect()


class _ManyAtOnce(Histogram):
    """A histogram that takes many values in one go, for a twentieth of the time."""

    def observe_many(self, values: npt.NDArray[np.float64]) -> None:
        """As `observe`, for seconds or sizes [N]. A value counts in the first bucket whose bound it does not exceed."""
        buckets = np.bincount(np.searchsorted(self._upper_bounds, values))
        self._sum.inc(float(values.sum()))
        for place in np.flatnonzero(buckets):
            self._buckets[place].inc(int(buckets[place]))


class Metrics:
    """Every metric, in a registry of its own, so that two apps in one process don't mix."""

    def __init__(self) -> None:
        """Create them all: a metric that nobody touched yet is still listed."""
        self.registry = _Registry(self.refresh)
        """What is scraped."""
        self._serving: Callable[[], Iterable[Served]] = tuple
        shared = METRICS_FOLDER in os.environ
        registry = CollectorRegistry() if shared else self.registry
        if shared:
            multiprocess.MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
        version = ("backend", "version")
        self.requests = Counter("parallax_requests", "Requests by route and status.", ("route", "status"), registry=registry)
        self.in_progress = Gauge(
            "parallax_requests_in_progress", "Requests under way.", multiprocess_mode="livesum", registry=registry
        )
        self.seconds = _ManyAtOnce(
            "parallax_request_seconds",
            "From a request's headers to the end of its reply, by route.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.stages = _ManyAtOnce(
            "parallax_stage_seconds",
            "Time of a classified image by stage.",
            (*version, "stage"),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = _ManyAtOnce(
            "parallax_batch_size", "Images that are handed over together.", version, buckets=SIZES, registry=registry
        )
        self.batches = Counter(
            "parallax_batches",
            "Batches by why they started and how they ended.",
            (*version, "release", "outcome"),
            registry=registry,
        )
        self.served = ServedMetrics(registry, shared=shared)
        self.spans = Counter("parallax_otel_spans", "Spans by what became of them.", ("outcome",), registry=registry)
        self.traced: SpanCounts | None = None
        """To tell of, if traces are sent."""
        self._spans_told = SpanCounts()
        self.remote = RemoteMetrics(registry)
        self._under_way = 0
        self._counted: dict[tuple[str, int], int] = {}
        self._answered: list[tuple[str, float]] = []
        self._timed: list[tuple[Identity, Timings]] = []
        self._batches: list[tuple[Identity, Batch]] = []

    def enter(self) -> None:
        """A request is here."""
        self._under_way += 1

    def leave(self, route: str, status: int, seconds: float) -> None:
        """It is answered, so long after it was there."""
        self._under_way -= 1
        key = (route, status)
        self._counted[key] = self._counted.get(key, 0) + 1
        self._answered.append((route, seconds))
        if len(self._answered) >= FLUSH_AT:
            self._flush()

    def observe(self, identity: Identity, timings: Timings) -> None:
        """Note the stages of one classified image. They are sorted into histograms many at a time."""
        self._timed.append((identity, timings))
        if len(self._timed) >= FLUSH_AT:
            self._flush()

    def on_batch(self, identity: Identity, batch: Batch) -> None:
        """Note one batch."""
        self._batches.append((identity, batch))
        if len(self._batches) >= FLUSH_AT:
            self._flush()

    def watch(self, serving: Callable[[], Iterable[Served]]) -> None:
        """Whenever someone asks, tell what is served then."""
        self._serving = serving

    def refresh(self) -> None:
        """Bring what shows a state up to date: with several workers, who is asked knows only its own."""
        self._flush()
        self.in_progress.set(self._under_way)
        counted, self._counted = self._counted, {}
        for (route, status), count in counted.items():
            self.requests.labels(route, str(status)).inc(count)
        serving = list(self._serving())
        for one in serving:
            if one.tally is not None:
                self.remote.tell(one.identity.name, one.tally)
        self.served.tell(serving)
        if self.traced is not None:
            now, before = replace(self.traced), self._spans_told
            for outcome in ("sent", "failed", "dropped"):
                self.spans.labels(outcome).inc(getattr(now, outcome) - getattr(before, outcome))
            self._spans_told = now

    def _flush(self) -> None:
        answered, self._answered = self._answered, []
        for route, seconds in _gathered(answered).items():
            self.seconds.labels(route).observe_many(np.array(seconds))
        timed, self._timed = self._timed, []
        for version, timings in _gathered((_version(identity), one) for identity, one in timed).items():
            for stage, values in zip(Timings._fields, np.array(timings).T, strict=True):
                self.stages.labels(*version, stage).observe_many(values)
        noted, self._batches = self._batches, []
        for version, batches in _gathered((_version(identity), one) for identity, one in noted).items():
            self.batch_size.labels(*version).observe_many(np.array([batch.size for batch in batches]))
            kinds = Counted((batch.release, "failed" if batch.failed else "answered") for batch in batches)
            for kind, count in kinds.items():
                self.batches.labels(*version, *kind).inc(count)


def _version(identity: Identity) -> tuple[str, str]:
    return identity.name, identity.version


def _gathered(pairs: Iterable[tuple[Key, Value]]) -> Mapping[Key, Sequence[Value]]:
    """Values by their key."""
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def milliseconds(timings: Timings) -> dict[str, float]:
    """Stages in milliseconds, to the microsecond."""
    return {
        "queue": int(timings.queue * 1e6 + 0.5) / 1000,  # `round` takes four times as long
        "decode": int(timings.decode * 1e6 + 0.5) / 1000,
        "infer": int(timings.infer * 1e6 + 0.5) / 1000,
        "total": int(timings.total * 1e6 + 0.5) / 1000,
    }


def server_timing(stages: Mapping[str, float]) -> str:
    """Value of the Server-Timing header (W3C Server Timing): durations in milliseconds."""
    queue, decode, infer, total = stages.values()
    return f"queue;dur={queue}, decode;dur={decode}, infer;dur={infer}, total;dur={total}"


def serve_metrics(settings: Settings, registry: CollectorRegistry) -> Callable[[], None]:
    """Open the port for metrics. Returns what closes it. Raises `ConfigurationError`."""
    port = settings.metrics_port or 0
    try:
        server, _ = start_http_server(port, settings.host, registry)
    except OSError as exc:
        raise ConfigurationError(f"PARALLAX_METRICS_PORT={port} can't be listened on: {exc.strerror}") from exc

    def close() -> None:
        server.shutdown()
        server.server_close()

    return close
