"""What sends traces and metrics to a collector, from the service's start to its end."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from prometheus_client import CollectorRegistry

from models import __version__
from service.otel.metrics import Report
from service.otel.outbox import Outbox
from service.otel.spans import Recorder
from service.otel_settings import OtelSettings

log = logging.getLogger("parallax.otel")

CLOSE_S = 3.0
"""For what waits when the service stops. Kubernetes gives it 5 s more than its requests have."""
PROTOCOL, SPOKEN = "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
EXPORTERS = (OTLPSpanExporter.__module__, OTLPMetricExporter.__module__)
"""What they log under."""
QUIET_S = 60.0
"""A collector that is down is told of once in so many seconds, not for every batch."""


class Exporting:
    """Spans of this process; and the metrics of all workers, if this is the one that tells of them."""

    def __init__(self, settings: OtelSettings, registry: CollectorRegistry, *, metrics: bool = True) -> None:
        """`registry`: what Prometheus would scrape. `metrics`: whether this is the process that tells of them."""
        headers = settings.pairs
        self._settings = settings
        self._registry = registry
        self._resource = _resource()
        self._began = time.time_ns()
        self.outbox: Outbox | None = None
        self.recorder: Recorder | None = None
        """Of spans, if they are wanted; so is the outbox."""
        self._metrics_to: MetricExporter | None = None
        if os.environ.get(PROTOCOL, SPOKEN) != SPOKEN and settings.endpoint is None:
            log.warning("a collector must understand http/protobuf here", extra={PROTOCOL: os.environ[PROTOCOL]})
        self._quiet = {name: _Seldom() for name in EXPORTERS}
        for name, seldom in self._quiet.items():
            logging.getLogger(name).addFilter(seldom)
        if settings.wants("metrics") and metrics:
            self._metrics_to = OTLPMetricExporter(settings.address("metrics"), headers=headers)
        if settings.wants("traces"):
            self.outbox = Outbox(OTLPSpanExporter(settings.address("traces"), headers=headers), settings.max_spans)
            provider = TracerProvider(ParentBasedTraceIdRatio(settings.sample), self._resource, shutdown_on_exit=False)
            provider.add_span_processor(self.outbox)
            self.recorder = Recorder(provider)

    async def run(self) -> None:
        """Report the metrics again and again, until cancelled."""
        while self._metrics_to is not None:
            await asyncio.sleep(self._settings.metrics_s)
            await self._report(self._metrics_to)

    async def close(self) -> None:
        """Send what waits, for as long as `CLOSE_S`, then close."""
        work = []
        if self.outbox is not None:
            work.append(_on_thread(self.outbox.shutdown))
        if self._metrics_to is not None:
            work.append(self._report(self._metrics_to))
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*work)
        except TimeoutError:
            log.warning("the collector was not told of all: it does not answer", extra={"seconds": CLOSE_S})
        if self.outbox is not None:
            self.outbox.give_up()
        if self._metrics_to is not None:
            self._metrics_to.shutdown()
        for name, seldom in self._quiet.items():
            logging.getLogger(name).removeFilter(seldom)

    async def _report(self, exporter: MetricExporter) -> None:
        try:
            families = list(self._registry.collect())  # on the event loop, whose numbers they are
        except Exception:
            log.exception("the metrics could not be collected")
            return
        report = Report(self._resource, self._began, time.time_ns())
        await _on_thread(lambda: exporter.export(report.of(families)))


class _Seldom(logging.Filter):
    """Lets a record through if none came just before."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, _record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + QUIET_S
        return True


def _resource() -> Resource:
    """Who sends: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what is known here."""
    given = OTELResourceDetector().detect().attributes
    ours: dict[str, str | int] = {"service.name": "parallax", "service.version": __version__, "process.pid": os.getpid()}
    return Resource.create({name: value for name, value in ours.items() if name not in given})


async def _on_thread(work: Callable[[], Any]) -> None:
    """Wait for blocking work on a thread that keeps no process from ending, as those of an executor would."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if error is not None and not done.done():
            log.error("telemetry could not be sent", exc_info=error)
        if not done.done():
            done.set_result(None)

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as exc:  # noqa: BLE001  # telemetry that fails must fail nothing else
            error = exc
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=run, name="otel", daemon=True).start()
    await done
