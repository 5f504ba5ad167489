"""What the service tells of itself."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from pythonjsonlogger.json import JsonFormatter

from service.domain import Batch, Identity, Timings
from service.logs import configure_logging
from service.served_metrics import Served
from service.tally import Tally
from service.telemetry import FLUSH_AT, Metrics, milliseconds, server_timing
from service.tuning import Plan

CNN = Identity("cnn", "onnx", "2", "int8", "CPUExecutionProvider", ("sea", "forest"))
VERSION = {"backend": "cnn", "version": "2"}
TIMINGS = Timings(queue=0.0004, decode=0.02, infer=0.3, total=0.3214)


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What standard error got; what was set up for logging comes back afterwards."""
    root = logging.getLogger()
    level = root.level
    yield lambda: capsys.readouterr().err
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, JsonFormatter)]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_classified_image_is_counted_in_every_stage() -> None:
    metrics = Metrics()
    metrics.observe(CNN, TIMINGS)
    for stage, seconds in (("queue", 0.0004), ("decode", 0.02), ("infer", 0.3), ("total", 0.3214)):
        assert value(metrics, "parallax_stage_seconds_count", **VERSION, stage=stage) == 1
        assert value(metrics, "parallax_stage_seconds_sum", **VERSION, stage=stage) == seconds


def test_many_classified_images_are_all_counted_whenever_someone_asks() -> None:
    metrics = Metrics()
    count, name = 3 * FLUSH_AT + 1, "parallax_stage_seconds_count"
    for number in range(1, count + 1):
        metrics.observe(CNN, TIMINGS)
        if number in {1, 2, FLUSH_AT, FLUSH_AT + 1, count}:
            assert value(metrics, name, **VERSION, stage="total") == number
    total = value(metrics, "parallax_stage_seconds_sum", **VERSION, stage="total")
    assert total == pytest.approx(count * TIMINGS.total)
    assert value(metrics, "parallax_stage_seconds_bucket", **VERSION, stage="total", le="0.25") == 0
    assert value(metrics, "parallax_stage_seconds_bucket", **VERSION, stage="total", le="0.5") == count


def test_a_batch_is_counted_by_its_size_its_release_and_its_outcome() -> None:
    metrics = Metrics()
    metrics.on_batch(CNN, Batch(3, "busy", 0.1, 0.2, failed=False))
    metrics.on_batch(CNN, Batch(8, "full", 0.1, 0.2, failed=True))
    assert value(metrics, "parallax_batches_total", **VERSION, release="busy", outcome="answered") == 1
    assert value(metrics, "parallax_batches_total", **VERSION, release="full", outcome="failed") == 1
    assert value(metrics, "parallax_batch_size_sum", **VERSION) == 11
    assert value(metrics, "parallax_batch_size_bucket", **VERSION, le="4.0") == 1


def test_a_backend_is_told_of_with_its_provider_and_its_queue_at_the_time_of_asking() -> None:
    metrics = Metrics()
    held = [3]
    metrics.watch(lambda: [Served(CNN, held[0])])
    labels = {"backend": "cnn", "version": "2"}
    provider = {"precision": "int8", "provider": "CPUExecutionProvider"}
    assert value(metrics, "parallax_backend_provider_info", **labels, **provider) == 1
    assert value(metrics, "parallax_queue_requests", **labels) == 3
    held[0] = 5
    assert value(metrics, "parallax_queue_requests", **labels) == 5


def test_calls_to_elsewhere_are_counted_once_however_often_someone_asks() -> None:
    metrics = Metrics()
    tally = Tally(usd_per_call=0.5, month_calls=7, breaker="open")
    metrics.watch(lambda: [Served(CNN, 0, tally)])
    for asked in (1, 2):
        for outcome in ("answered", "unreachable"):
            tally.count(outcome)
        tally.retries += 1
        for _ in range(2):
            assert value(metrics, "parallax_remote_calls_total", backend="cnn", outcome="answered") == asked
        assert value(metrics, "parallax_remote_retries_total", backend="cnn") == asked
        assert value(metrics, "parallax_remote_usd_total", backend="cnn") == asked / 2, "what was never sent costs nothing"
    assert value(metrics, "parallax_remote_month_calls", backend="cnn") == 7
    assert value(metrics, "parallax_remote_breaker_open", backend="cnn") == 1


def test_a_version_that_is_served_no_longer_is_told_of_no_longer() -> None:
    metrics = Metrics()
    served = {"2": 3, "1": 1}
    metrics.watch(lambda: [Served(replace(CNN, version=version), held) for version, held in served.items()])
    assert value(metrics, "parallax_queue_requests", backend="cnn", version="2") == 3
    served = {"3": 2, "1": 4}
    told = {
        (sample.name, sample.labels["version"], sample.value)
        for family in metrics.registry.collect()
        for sample in family.samples
        if "version" in sample.labels
    }
    assert told == {
        ("parallax_backend_provider_info", "3", 1),
        ("parallax_backend_provider_info", "1", 1),
        ("parallax_queue_requests", "3", 2),
        ("parallax_queue_requests", "1", 4),
    }


def test_a_version_that_comes_back_on_another_provider_has_one_provider() -> None:
    metrics = Metrics()
    provider = "CPUExecutionProvider"
    metrics.watch(lambda: [Served(replace(CNN, provider=provider), 5)])
    list(metrics.registry.collect())
    provider = "CUDAExecutionProvider"
    (info,) = [family for family in metrics.registry.collect() if family.name == "parallax_backend_provider_info"]
    assert [sample.labels["provider"] for sample in info.samples] == [provider]
    assert value(metrics, "parallax_queue_requests", backend="cnn", version="2") == 5


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for _ in range(4):
        metrics.enter()
    for status in (200, 200, 429):
        metrics.leave("/v1/classify", status, 0.2)
    assert value(metrics, "parallax_requests_in_progress") == 1
    assert value(metrics, "parallax_requests_total", route="/v1/classify", status="200") == 2
    assert value(metrics, "parallax_requests_total", route="/v1/classify", status="429") == 1
    metrics.leave("/v1/classify", 200, 0.02)
    assert value(metrics, "parallax_requests_total", route="/v1/classify", status="200") == 3
    assert value(metrics, "parallax_requests_in_progress") == 0


def test_the_time_of_requests_is_told_by_route_however_many_there_are() -> None:
    metrics = Metrics()
    for _ in range(FLUSH_AT + 1):
        metrics.leave("/v1/classify", 200, 0.002)
        metrics.leave("/v1/compare", 200, 2.0)
    assert value(metrics, "parallax_request_seconds_bucket", route="/v1/classify", le="0.0025") == FLUSH_AT + 1
    assert value(metrics, "parallax_request_seconds_sum", route="/v1/compare") == 2.0 * (FLUSH_AT + 1)


def test_versions_count_apart() -> None:
    metrics = Metrics()
    for version, count in (("1", 1), ("2", 3)):
        for _ in range(count):
            metrics.observe(replace(CNN, version=version), TIMINGS)
            metrics.on_batch(replace(CNN, version=version), Batch(2, "busy", 0.1, 0.2, failed=False))
        stage = {"backend": "cnn", "version": version, "stage": "queue"}
        assert value(metrics, "parallax_stage_seconds_count", **stage) == count
        assert value(metrics, "parallax_batch_size_sum", backend="cnn", version=version) == 2 * count


def test_the_plan_in_use_is_told_of_and_goes_with_its_version() -> None:
    metrics = Metrics()
    plan: Plan | None = Plan(8, 3, 2)
    metrics.watch(lambda: [Served(CNN, 0, None, plan)])
    told = [value(metrics, f"parallax_plan_{part}", **VERSION) for part in ("batch_size", "lanes", "threads")]
    assert told == [8, 3, 2]
    plan = Plan(4, 1, 1)
    assert value(metrics, "parallax_plan_batch_size", **VERSION) == 4
    plan = None
    assert value(metrics, "parallax_plan_batch_size", **VERSION) is None
    assert value(metrics, "parallax_queue_requests", **VERSION) == 0


def test_two_applications_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.requests.labels("/v1/classify", "200").inc()
    assert value(first, "parallax_requests_total", route="/v1/classify", status="200") == 1
    assert value(second, "parallax_requests_total", route="/v1/classify", status="200") is None


def test_metrics_that_nobody_touched_are_listed_and_none_has_a_time_stamp_beside_it() -> None:
    metrics = Metrics()
    metrics.on_batch(CNN, Batch(1, "idle", 0, 0, failed=False))
    text = generate_latest(metrics.registry).decode()
    assert "# TYPE parallax_stage_seconds histogram" in text
    assert "_created" not in text


SECONDS = st.floats(0, 1e4)


@given(queue=SECONDS, decode=SECONDS, infer=SECONDS, total=SECONDS)
def test_server_timing_has_the_form_of_the_w3c_and_loses_less_than_a_microsecond(
    queue: float, decode: float, infer: float, total: float
) -> None:
    stages = milliseconds(Timings(queue, decode, infer, total))
    assert stages == pytest.approx(
        {"queue": queue * 1e3, "decode": decode * 1e3, "infer": infer * 1e3, "total": total * 1e3}, abs=1e-3
    )
    header = server_timing(stages)
    assert re.fullmatch(r"[a-z]+;dur=[0-9.]+(, [a-z]+;dur=[0-9.]+){3}", header), header
    assert {name: float(duration) for name, duration in re.findall(r"(\w+);dur=([0-9.]+)", header)} == stages


def test_the_log_is_one_json_object_a_line_with_its_extras_and_its_traceback(log: Callable[[], str]) -> None:
    configure_logging("info")
    logging.getLogger("parallax.x").info("two\nlines", extra={"request_id": "7"})
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("parallax.x").exception("failed")
    logging.getLogger("parallax.x").debug("not at this level")
    first, second = (json.loads(line) for line in log().splitlines())
    assert {"level": "INFO", "logger": "parallax.x", "message": "two\nlines", "request_id": "7"}.items() <= first.items()
    assert re.match(r"\d{4}-\d\d-\d\d", first["time"])
    assert "KeyError: 'lost'" in second["exc_info"]


def test_uvicorn_does_not_log_requests_a_second_time(log: Callable[[], str]) -> None:
    configure_logging("debug")
    logging.getLogger("uvicorn.access").info("GET /")
    assert log() == ""
