"""What the service tells of itself: Prometheus metrics, the Server-Timing header, JSON logs."""

import logging
import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from pythonjsonlogger.json import JsonFormatter

from service.batching import Batch
from service.domain import Identity, Prediction, Timings

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of time stamps beside every counter: nobody reads it

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Every metric, in a registry of its own, so that two apps in one process don't mix."""

    def __init__(self) -> None:
        """Create them all: a metric that nobody touched yet is still listed."""
        self.registry = CollectorRegistry()
        self.requests = Counter("parallax_requests", "Requests by route and status.", ("route", "status"), registry=self.registry)
        self.in_progress = Gauge("parallax_requests_in_progress", "Requests under way.", registry=self.registry)
        self.stages = Histogram(
            "parallax_stage_seconds",
            "Time of a classified image by stage.",
            ("backend", "stage"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "parallax_batch_size", "Images in a batch.", ("backend",), buckets=SIZES, registry=self.registry
        )
        self.batches = Counter(
            "parallax_batches",
            "Batches by why they started and how they ended.",
            ("backend", "release", "outcome"),
            registry=self.registry,
        )
        self.queue = Gauge(
            "parallax_queue_requests", "Requests that a backend holds.", ("backend", "version"), registry=self.registry
        )
        self.provider = Gauge(
            "parallax_backend_provider_info",
            "1 for each backend served, with what it runs on.",
            ("backend", "version", "precision", "provider"),
            registry=self.registry,
        )

    def observe(self, prediction: Prediction) -> None:
        """Count the stages of one classified image."""
        name, timings = prediction.backend.name, prediction.timings
        for stage, seconds in (
            ("queue", timings.queue),
            ("decode", timings.decode),
            ("infer", timings.infer),
            ("total", timings.total),
        ):
            self.stages.labels(name, stage).observe(seconds)

    def on_batch(self, identity: Identity, batch: Batch) -> None:
        """Count one batch."""
        self.batch_size.labels(identity.name).observe(batch.size)
        self.batches.labels(identity.name, batch.release, "failed" if batch.failed else "answered").inc()

    def serve(self, identity: Identity, held: Callable[[], int]) -> None:
        """Tell of a backend from now on: what it runs on, and whenever someone asks, how many requests it holds."""
        self.provider.labels(identity.name, identity.version, identity.precision, identity.provider).set(1)
        self.queue.labels(identity.name, identity.version).set_function(held)


def milliseconds(timings: Timings) -> dict[str, float]:
    """Stages in milliseconds, to the microsecond."""
    return {
        "queue": round(timings.queue * 1000, 3),
        "decode": round(timings.decode * 1000, 3),
        "infer": round(timings.infer * 1000, 3),
        "total": round(timings.total * 1000, 3),
    }


def server_timing(stages: dict[str, float]) -> str:
    """Value of the Server-Timing header (W3C Server Timing): durations in milliseconds."""
    return ", ".join(f"{stage};dur={duration}" for stage, duration in stages.items())


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
    logging.getLogger("uvicorn.access").disabled = True  # the edge logs requests, with their ids
