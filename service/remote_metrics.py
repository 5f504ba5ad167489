"""Metrics of backends that answer from elsewhere."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from service.tally import Tally

OPENNESS = {"closed": 0.0, "half-open": 0.5, "open": 1.0}


class RemoteMetrics:
    """Brought up to date from the backends' own counts when somebody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create them all."""
        backend = ("backend",)
        self.calls = Counter(
            "parallax_remote_calls", "HTTP requests to a remote backend by outcome.", (*backend, "outcome"), registry=registry
        )
        self.retries = Counter("parallax_remote_retries", "Of these, those that repeat another.", backend, registry=registry)
        self.waited = Counter(
            "parallax_remote_wait_seconds", "Time that requests waited for the rate.", backend, registry=registry
        )
        self.usd = Counter("parallax_remote_usd", "What the requests cost, at the configured price.", backend, registry=registry)
        self.month = Gauge(
            "parallax_remote_month_calls",
            "Requests of this month, by all who share its budget.",
            backend,
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.breaker = Gauge(
            "parallax_remote_breaker_open",
            "1 while the breaker lets nothing through, 0.5 while one request may try.",
            backend,
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._told: dict[tuple[Counter, str, str], float] = {}

    def tell(self, backend: str, tally: Tally) -> None:
        """Add what came since the last time."""
        for outcome, count in tally.calls.items():
            self._add(self.calls, count, backend, outcome)
        self._add(self.retries, tally.retries, backend)
        self._add(self.waited, tally.waited_s, backend)
        self._add(self.usd, tally.usd, backend)
        self.month.labels(backend).set(tally.month_calls)
        self.breaker.labels(backend).set(OPENNESS[tally.breaker])

    def _add(self, counter: Counter, total: float, backend: str, *more: str) -> None:
        key = (counter, backend, " ".join(more))
        counter.labels(backend, *more).inc(total - self._told.get(key, 0.0))
        self._told[key] = total
