"""What is sent to a collector, how much of it at most, and for how long a stop waits for it."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from service.domain import Batch, Identity, Timings
from service.errors import ConfigurationError
from service.otel import export
from service.otel.export import Exporting
from service.otel.metrics import Report
from service.otel.outbox import Outbox
from service.served_metrics import Served
from service.settings import load_settings
from service.telemetry import SECONDS, Metrics
from service.tracing import SpanCounts
from service.tuning import Plan
from tests.support.collector import Collector, collecting
from tests.unit.service.stand_ins import PATIENCE_S, until

CNN = Identity("cnn", "onnx", "2", "int8", "CPUExecutionProvider", ("sea", "forest"))
VERSION = {"backend": "cnn", "version": "2"}


class Slow(SpanExporter):
    """Takes nothing until it may."""

    def __init__(self, result: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        self.go_on = threading.Event()
        self.result = result
        self.sizes: list[int] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert self.go_on.wait(PATIENCE_S)
        self.sizes.append(len(spans))
        return self.result

    def shutdown(self) -> None:
        self.go_on.set()


def end_spans(outbox: Outbox, count: int) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()


def test_more_spans_than_can_wait_are_dropped_and_counted_and_nobody_waits() -> None:
    exporter = Slow()
    outbox = Outbox(exporter, 600)
    end_spans(outbox, 1000)
    assert outbox.counts == SpanCounts(dropped=400), "the sender has not taken a thing yet"
    exporter.go_on.set()
    outbox.shutdown()
    assert outbox.counts == SpanCounts(sent=600, dropped=400)
    assert sum(exporter.sizes) == 600


def test_there_is_room_again_for_as_many_as_were_sent() -> None:
    exporter = Slow()
    exporter.go_on.set()
    outbox = Outbox(exporter, 600)
    for _ in range(3):
        end_spans(outbox, 500)
        outbox.force_flush()
    assert outbox.counts == SpanCounts(sent=1500)
    outbox.shutdown()


def test_spans_that_nobody_takes_have_failed() -> None:
    exporter = Slow(SpanExportResult.FAILURE)
    exporter.go_on.set()
    outbox = Outbox(exporter, 600)
    end_spans(outbox, 7)
    outbox.shutdown()
    assert outbox.counts == SpanCounts(failed=7)


def test_metrics_tell_what_became_of_spans_once_however_often_someone_asks() -> None:
    metrics = Metrics()
    assert metrics.registry.get_sample_value("parallax_otel_spans_total", {"outcome": "sent"}) is None
    metrics.traced = SpanCounts(sent=3)
    for sent in (3, 5):
        metrics.traced.sent = sent
        for _ in range(2):
            assert metrics.registry.get_sample_value("parallax_otel_spans_total", {"outcome": "sent"}) == sent
    assert metrics.registry.get_sample_value("parallax_otel_spans_total", {"outcome": "dropped"}) == 0


def senders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.lower().startswith("otel")]


async def reported(collector: Collector, metrics: Metrics) -> None:
    """Let a service that ends at once tell of its metrics."""
    settings = load_settings(otel={"endpoint": collector.url})
    await Exporting(settings.otel, metrics.registry).close()


@given(st.lists(st.floats(0, 20), min_size=1, max_size=30))
def test_a_histogram_has_the_same_buckets_in_otlp_as_in_prometheus(values: list[float]) -> None:
    metrics = Metrics()
    for value in values:
        metrics.observe(CNN, Timings(value, 0, 0, value))
    (resource,) = Report(Resource({}), 1, 2).of(metrics.registry.collect()).resource_metrics
    data = next(one.data for one in resource.scope_metrics[0].metrics if one.name == "parallax_stage_seconds")
    point = next(point for point in data.data_points if point.attributes == {**VERSION, "stage": "total"})
    assert isinstance(point, HistogramDataPoint)
    assert tuple(point.explicit_bounds) == SECONDS
    assert sum(point.bucket_counts) == point.count == len(values)
    assert point.sum == pytest.approx(sum(values))
    upto = 0
    for bound, count in zip((*SECONDS, float("inf")), point.bucket_counts, strict=True):
        upto += count
        assert upto == sum(value <= bound for value in values)


async def test_counters_and_gauges_keep_their_names_and_labels() -> None:
    metrics = Metrics()
    metrics.watch(lambda: [Served(CNN, 3, None, Plan(8, 3, 1))])
    metrics.on_batch(CNN, Batch(3, "busy", 0.1, 0.2, failed=False))
    metrics.enter()
    metrics.leave("/v1/classify", 200, 0.2)
    before = time.time_ns()
    with collecting() as collector:
        await reported(collector, metrics)
    found = {one.name: one for one in collector.points}
    assert found["parallax_requests"].facts == {"route": "/v1/classify", "status": "200"}
    assert found["parallax_requests"].data.as_double == 1
    assert before <= found["parallax_requests"].data.start_time_unix_nano <= found["parallax_requests"].data.time_unix_nano
    assert (found["parallax_queue_requests"].facts, found["parallax_queue_requests"].data.as_double) == (VERSION, 3)
    plan = [found[f"parallax_plan_{part}"].data.as_double for part in ("batch_size", "lanes", "threads")]
    assert plan == [8, 3, 1]
    sizes = found["parallax_batch_size"].data
    assert (sizes.sum, list(sizes.bucket_counts)) == (3, [0, 0, 1, 0, 0, 0, 0, 0])
    assert not sizes.HasField("min"), "nobody kept it"


async def test_who_sends_is_told_and_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        metrics = Metrics()
        metrics.enter()
        await reported(collector, metrics)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=shop-1,service.version=9")
        await reported(collector, metrics)
    first, last = collector.points[0].who, collector.points[-1].who
    assert (first["service.name"], last["service.name"]) == ("parallax", "shop")
    assert (last["service.version"], last["k8s.pod.name"]) == ("9", "shop-1")
    assert first["service.instance.id"]


async def test_metrics_are_reported_again_and_again() -> None:
    metrics = Metrics()
    metrics.enter()
    with collecting() as collector:
        exporting = Exporting(load_settings(otel={"endpoint": collector.url, "metrics_s": 1}).otel, metrics.registry)
        exporting._settings = exporting._settings.model_copy(update={"metrics_s": 0.01})
        running = asyncio.create_task(exporting.run())
        async with asyncio.timeout(PATIENCE_S):
            while len(collector.points) < 3:
                await asyncio.sleep(0.01)
        running.cancel()
        await exporting.close()


async def test_a_collector_that_does_not_answer_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export, "CLOSE_S", 0.05)
    with collecting() as collector:
        collector.silent.set()
        exporting = Exporting(load_settings(otel={"endpoint": collector.url}).otel, Metrics().registry)
        assert exporting.outbox is not None
        end_spans(exporting.outbox, 3)
        async with asyncio.timeout(PATIENCE_S / 3):  # far less than the SDK's own patience
            await exporting.close()
    assert "the collector was not told of all: it does not answer" in caplog.text
    await until(lambda: not senders(), "they have given up, and complain in no other test")


@pytest.mark.parametrize("signal", ["trace", "metric"])
async def test_a_collector_that_is_down_is_not_told_of_for_every_batch(signal: str, caplog: pytest.LogCaptureFixture) -> None:
    exporter = logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{signal}_exporter")
    with collecting() as collector:
        exporting = Exporting(load_settings(otel={"endpoint": collector.url}).otel, Metrics().registry)
        for _ in range(3):
            exporter.error("Failed to export")
        await exporting.close()
    assert [record.message for record in caplog.records if record.name == exporter.name] == ["Failed to export"]


async def test_headers_go_along_and_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_OTEL__HEADERS", "api-key=hunter2, authorization=Basic%20abc")
    with collecting() as collector:
        settings = load_settings(otel={"endpoint": collector.url})
        metrics = Metrics()
        metrics.enter()
        await Exporting(settings.otel, metrics.registry).close()
    assert (collector.headers[0]["api-key"], collector.headers[0]["authorization"]) == ("hunter2", "Basic abc")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("otel", "reason"),
    [
        ({"endpoint": "collector:4318"}, "http://otel-collector:4318"),
        ({"endpoint": "http://user:hunter2@collector:4318"}, "without user"),
        ({"endpoint": "https://collector/?key=hunter2"}, "without user"),
        ({"endpoint": "http://collector:99999"}, "no address"),
        ({"headers": "hunter2"}, "NAME=VALUE"),
        ({"headers": "a=hunter2\n"}, "NAME=VALUE"),
        ({"headers": "a=hunter2%0ab"}, "NAME=VALUE"),
        ({"endpoint": "http://collector:4318", "headers": "a=hunter2"}, "https://"),
        ({"sample": 2}, "SAMPLE"),
    ],
)
def test_settings_that_make_no_sense_are_refused_without_repeating_them(otel: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refused:
        load_settings(otel=otel)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("signal", ["TRACES", "METRICS"])
def test_headers_take_https_to_wherever_opentelemetrys_own_variables_send_them(
    signal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "http://collector:4318/v1/any")
    with pytest.raises(ConfigurationError, match="https://"):
        load_settings(otel={"headers": "a=hunter2"})
    load_settings(otel={"headers": "a=hunter2", "endpoint": "https://collector"})


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, set()),
        ({"PARALLAX_OTEL__ENDPOINT": "http://c:4318"}, {"traces", "metrics"}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, {"traces", "metrics"}),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, {"metrics"}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, set()),
    ],
)
def test_the_own_variables_of_opentelemetry_count_too(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: set[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    otel = load_settings().otel
    assert {signal for signal in ("traces", "metrics") if otel.wants(signal)} == wanted
