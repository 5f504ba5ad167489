"""What the service tells of itself: Prometheus metrics, the Server-Timing header, JSON logs."""

import logging
import os
import sys
from collections import Counter as Counted
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
from pythonjsonlogger.json import JsonFormatter

from service.domain import Batch, Identity, Timings
from service.errors import ConfigurationError
from service.remote_metrics import RemoteMetrics
from service.settings import Settings
from service.tally import Tally

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of time stamps beside every counter: nobody reads it

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client's own variable, read as it is imported: workers write their metrics into files there."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
FLUSH_AT = 512
"""Timings, and batches, that are kept before they are counted."""

SIZES = (1, 2, 4, 8, 16, 32, 64)


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
        self._serving: Callable[[], Iterable[tuple[Identity, int, Tally | None]]] = tuple
        self._shared = METRICS_FOLDER in os.environ
        registry = CollectorRegistry() if self._shared else self.registry
        if self._shared:
            multiprocess.MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
        self.requests = Counter("parallax_requests", "Requests by route and status.", ("route", "status"), registry=registry)
        self.in_progress = Gauge(
            "parallax_requests_in_progress", "Requests under way.", multiprocess_mode="livesum", registry=registry
        )
        self.stages = _ManyAtOnce(
            "parallax_stage_seconds",
            "Time of a classified image by stage.",
            ("backend", "stage"),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = _ManyAtOnce("parallax_batch_size", "Images in a batch.", ("backend",), buckets=SIZES, registry=registry)
        self.batches = Counter(
            "parallax_batches",
            "Batches by why they started and how they ended.",
            ("backend", "release", "outcome"),
            registry=registry,
        )
        self.queue = Gauge(
            "parallax_queue_requests",
            "Requests that a backend holds.",
            ("backend", "version"),
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.provider = Gauge(
            "parallax_backend_provider_info",
            "1 for each backend served, with what it runs on.",
            ("backend", "version", "precision", "provider"),
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.remote = RemoteMetrics(registry)
        self._shown: dict[tuple[str, str, str, str], tuple[str, str]] = {}
        self._under_way = 0
        self._counted: dict[tuple[str, int], int] = {}
        self._timed: list[tuple[str, Timings]] = []
        self._batches: list[tuple[str, Batch]] = []

    def enter(self) -> None:
        """A request is here."""
        self._under_way += 1

    def leave(self, route: str, status: int) -> None:
        """It is answered."""
        self._under_way -= 1
        key = (route, status)
        self._counted[key] = self._counted.get(key, 0) + 1

    def observe(self, identity: Identity, timings: Timings) -> None:
        """Note the stages of one classified image. They are sorted into histograms many at a time."""
        self._timed.append((identity.name, timings))
        if len(self._timed) >= FLUSH_AT:
            self._flush()

    def on_batch(self, identity: Identity, batch: Batch) -> None:
        """Note one batch."""
        self._batches.append((identity.name, batch))
        if len(self._batches) >= FLUSH_AT:
            self._flush()

    def watch(self, serving: Callable[[], Iterable[tuple[Identity, int, Tally | None]]]) -> None:
        """Whenever someone asks, tell what is served then, on what, how many requests each holds, and what its calls came to."""
        self._serving = serving

    def refresh(self) -> None:
        """Bring what shows a state up to date: with several workers, who is asked knows only its own."""
        self._flush()
        self.in_progress.set(self._under_way)
        counted, self._counted = self._counted, {}
        for (route, status), count in counted.items():
            self.requests.labels(route, str(status)).inc(count)
        shown = {}
        for identity, held, tally in self._serving():
            if tally is not None:
                self.remote.tell(identity.name, tally)
            queue = (identity.name, identity.version)
            provider = (*queue, identity.precision, identity.provider)
            self.queue.labels(*queue).set(held)
            self.provider.labels(*provider).set(1)
            shown[provider] = queue
        for provider in self._shown.keys() - shown.keys():
            self._forget(self.provider, provider)
        for queue in set(self._shown.values()) - set(shown.values()):
            self._forget(self.queue, queue)
        self._shown = shown

    def _flush(self) -> None:
        timed, self._timed = self._timed, []
        for backend in {name for name, _ in timed}:
            seconds = np.array([timings for name, timings in timed if name == backend])
            for stage, values in zip(Timings._fields, seconds.T, strict=True):
                self.stages.labels(backend, stage).observe_many(values)
        batches, self._batches = self._batches, []
        for backend in {name for name, _ in batches}:
            self.batch_size.labels(backend).observe_many(np.array([batch.size for name, batch in batches if name == backend]))
        kinds = Counted((name, batch.release, "failed" if batch.failed else "answered") for name, batch in batches)
        for labels, count in kinds.items():
            self.batches.labels(*labels).inc(count)

    def _forget(self, gauge: Gauge, labels: Sequence[str]) -> None:
        if self._shared:
            gauge.labels(*labels).set(0)  # a file that other processes read has no way to take a series back
        else:
            gauge.remove(*labels)


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


def configure_logging(level: str) -> None:
    """One JSON object a line on standard error, for everything that logs in this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each request to a remote backend, which are counted
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it would tell of each of its plugins
    logging.getLogger("uvicorn.access").disabled = True  # the edge logs requests, with their ids
