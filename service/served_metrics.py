"""Metrics of what is served just now: on what, by which plan, and how many requests it holds."""

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge

from service.domain import Identity
from service.tally import Tally
from service.tuning import Plan


class Served(NamedTuple):
    """A version of a backend, as it is when somebody asks."""

    identity: Identity
    held: int
    """Requests that wait or run."""
    tally: Tally | None = None
    """What its calls came to, if it calls somebody."""
    plan: Plan | None = None
    """What it runs on, if it has a plan."""


class ServedMetrics:
    """Gauges of versions: a version that is served no longer is told of no longer."""

    def __init__(self, registry: CollectorRegistry, *, shared: bool) -> None:
        """`shared`: several processes tell of theirs together."""
        self._shared = shared
        version = ("backend", "version")
        self.queue = Gauge(
            "parallax_queue_requests",
            "Requests that a backend holds.",
            version,
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.provider = Gauge(
            "parallax_backend_provider_info",
            "1 for each backend served, with what it runs on.",
            (*version, "precision", "provider"),
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.batch_size = Gauge(
            "parallax_plan_batch_size",
            "Images in a batch at most, by the plan in use.",
            version,
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.lanes = Gauge(
            "parallax_plan_lanes",
            "Threads that run batches, by the plan in use, in each process.",
            version,
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.threads = Gauge(
            "parallax_plan_threads",
            "Threads within one inference, by the plan in use.",
            version,
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._shown: set[tuple[Gauge, tuple[str, ...]]] = set()

    def tell(self, serving: Sequence[Served]) -> None:
        """Show these, and no others."""
        shown = set()
        for identity, held, _, plan in serving:
            version = (identity.name, identity.version)
            told: list[tuple[Gauge, tuple[str, ...], int]] = [
                (self.queue, version, held),
                (self.provider, (*version, identity.precision, identity.provider), 1),
            ]
            if plan is not None:
                told += [
                    (self.batch_size, version, plan.batch_size),
                    (self.lanes, version, plan.lanes),
                    (self.threads, version, plan.threads),
                ]
            for gauge, labels, value in told:
                gauge.labels(*labels).set(value)
                shown.add((gauge, labels))
        for gauge, labels in self._shown - shown:
            self._forget(gauge, labels)
        self._shown = shown

    def _forget(self, gauge: Gauge, labels: Sequence[str]) -> None:
        if self._shared:
            gauge.labels(*labels).set(0)  # a file that other processes read has no way to take a series back
        else:
            gauge.remove(*labels)
