"""One request is one trace: from the upload to the calls that its backends make."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Message

from service.api.edge import Edge
from service.app import create_app
from service.logs import configure_logging
from service.settings import load_settings
from tests.support.azure_endpoint import KEY, LABELS, Endpoint, Reply, endpoint
from tests.support.images import labelled, plain, write_zip
from tests.support.models import tiny_model
from tests.unit.service.stand_ins import PATIENCE_S

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"
"""The trace of W3C's own example."""


class Spans:
    """What was exported. Read it when the service has stopped."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def all(self) -> Sequence[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, -(span.end_time or 0)))

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.all if span.name == name]
        return found

    def under(self, parent: ReadableSpan) -> list[ReadableSpan]:
        return [span for span in self.all if span.parent and parent.context and span.parent.span_id == parent.context.span_id]

    def names_under(self, parent: ReadableSpan) -> list[str]:
        return [span.name for span in self.under(parent)]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    exporter = InMemorySpanExporter()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    monkeypatch.setattr("service.otel.export.OTLPSpanExporter", lambda *_args, **_options: exporter)
    return Spans(exporter)


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint() as found:
        yield found


@asynccontextmanager
async def client(tmp_path: Path, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service in this process, with one real model."""
    tiny_model(tmp_path / "store", labels=list(LABELS))
    app = create_app(load_settings(tune="off", **settings))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
            yield found


async def ready(service: httpx.AsyncClient) -> None:
    """Wait for the end of the look that a remote backend takes at the start."""
    async with asyncio.timeout(PATIENCE_S):
        while (await service.get("/v1/backends/azure_ml")).json()["backends"][0]["state"] != "ready":
            await asyncio.sleep(0.01)


def facts(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def interval(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


async def test_one_trace_shows_a_request_through_all_its_stages(tmp_path: Path, spans: Spans) -> None:
    async with client(tmp_path) as service:
        reply = await service.post("/v1/classify?top=1", content=plain(0), headers={"X-Request-Id": "mine"})
        assert reply.status_code == 200
    server = spans.named("POST /v1/classify")
    assert (server.kind, server.parent) == (SpanKind.SERVER, None)
    assert facts(server) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/v1/classify",
        "http.route": "/v1/classify",
        "http.response.status_code": 200,
        "parallax.request_id": "mine",
        "parallax.caller": "127.0.0.1",
    }
    assert spans.names_under(server) == ["upload", "classify tiny"]
    classify = spans.named("classify tiny")
    assert spans.names_under(classify) == ["queue", "decode", "infer"]
    assert len(spans.all) == 6
    assert {span.context.trace_id for span in spans.all if span.context} == {server.context.trace_id if server.context else 0}
    upload, queue, decode, infer = (interval(spans.named(name)) for name in ("upload", "queue", "decode", "infer"))
    for inner, outer in ((upload, server), (queue, classify), (infer, classify)):
        assert interval(outer)[0] <= inner[0] <= inner[1] <= interval(outer)[1]
    assert interval(server)[0] <= upload[1] <= interval(classify)[0] < interval(classify)[1] <= interval(server)[1]
    assert queue[0] <= queue[1] <= decode[0] < decode[1] <= infer[0] < infer[1]
    took = reply.json()["timing_ms"]
    for stage, (began, ended) in (("decode", decode), ("infer", infer)):
        assert (ended - began) / 1e6 == pytest.approx(took[stage], abs=0.002), "what the caller was told"
    assert facts(spans.named("infer")) == {
        "parallax.backend": "tiny",
        "parallax.version": "1",
        "parallax.precision": "fp32",
        "parallax.provider": "CPUExecutionProvider",
        "parallax.batch.size": 1,
    }
    assert facts(spans.named("upload")) == {"http.request.body.size": len(plain(0))}


async def test_images_that_are_inferred_together_say_so(tmp_path: Path, spans: Spans) -> None:
    async with client(tmp_path, plans={"tiny": {"batch_size": 4, "lanes": 1, "threads": 1}}, max_wait_ms=60_000) as service:
        await asyncio.gather(*(service.post("/v1/classify", content=plain(0)) for _ in range(8)))
    inferred = [span for span in spans.all if span.name == "infer"]
    assert [facts(span)["parallax.batch.size"] for span in inferred] == [4] * 8
    assert len({ended - began for began, ended in map(interval, inferred)}) == 2, "two batches, in eight traces"
    assert len({span.context.trace_id for span in inferred if span.context}) == 8


async def test_an_image_that_is_decoded_ahead_waits_for_its_turn_afterwards(tmp_path: Path, spans: Spans) -> None:
    async with client(tmp_path, fake={"labels": ["a", "b"]}) as service:
        await service.post("/v1/classify?backend=fake", content=plain(0))
    decode, queue, infer = (interval(spans.named(name)) for name in ("decode", "queue", "infer"))
    assert decode[0] < decode[1] == queue[0] <= queue[1] == infer[0] <= infer[1]


async def test_backends_that_are_compared_stand_side_by_side(tmp_path: Path, spans: Spans) -> None:
    async with client(tmp_path, fake={"labels": ["a", "b"]}) as service:
        assert (await service.post("/v1/compare", content=plain(0))).status_code == 200
    server = spans.named("POST /v1/compare")
    assert sorted(spans.names_under(server)) == ["classify fake", "classify tiny", "upload"]
    for name in ("fake", "tiny"):
        assert sorted(spans.names_under(spans.named(f"classify {name}"))) == ["decode", "infer", "queue"]


async def test_every_attempt_to_ask_a_remote_backend_is_a_span_and_nothing_of_the_trace_leaves(
    tmp_path: Path, spans: Spans, there: Endpoint
) -> None:
    azure_ml = {"endpoint": there.url, "key": KEY, "labels": list(LABELS)}
    async with client(tmp_path, azure_ml=azure_ml) as service:
        await ready(service)
        there.script.append(Reply(503, "overloaded", {"Retry-After": "0"}))
        context = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-01"}
        reply = await service.post("/v1/classify?backend=azure_ml", content=plain(255), headers=context)
        assert reply.status_code == 200, reply.text
    classify = spans.named("classify azure_ml")
    assert spans.names_under(classify) == ["decode", "queue", "infer"]
    first, second = spans.under(spans.named("infer"))
    assert {span.kind for span in (first, second)} == {SpanKind.CLIENT}
    asked = {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": there.port,
        "url.full": there.url,
    }
    refused = {"http.response.status_code": 503, "parallax.outcome": "failed", "error.type": "503"}
    assert facts(first) == asked | refused
    assert first.status.status_code is StatusCode.ERROR
    assert facts(second) == asked | {
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
        "parallax.outcome": "answered",
    }
    assert interval(spans.named("infer"))[0] <= interval(first)[0] < interval(first)[1] <= interval(second)[0]
    assert interval(second)[1] <= interval(spans.named("infer"))[1]
    assert [span.name for span in spans.all].count("POST") == 2, "the look at the start is of no request"
    assert not any("traceparent" in asked.headers for asked in there.asked)
    assert KEY not in "".join(str(facts(span)) for span in spans.all)


async def test_what_a_backend_does_on_its_own_belongs_to_no_request(tmp_path: Path, spans: Spans, there: Endpoint) -> None:
    azure_ml = {"endpoint": there.url, "key": KEY, "labels": list(LABELS)}
    async with client(tmp_path, azure_ml=azure_ml) as service:
        await ready(service)
        assert (await service.post("/v1/backends/azure_ml/reload")).status_code == 200
        await ready(service)
    assert len(there.asked) == 2, "it looked again"
    assert spans.names_under(spans.named("POST /v1/backends/{name}/reload")) == []


async def test_scoring_runs_belong_to_no_request_though_one_began_them(tmp_path: Path, spans: Spans) -> None:
    data = write_zip(tmp_path / "set.zip", labelled(dict.fromkeys(LABELS, 2))).read_bytes()
    async with client(tmp_path) as service:
        reply = await service.post("/v1/scorings", files={"dataset": ("set.zip", data)})
        assert reply.status_code == 202, reply.text

        async def ended() -> bool:
            return bool((await service.get(reply.headers["location"])).json()["state"] == "succeeded")

        async with asyncio.timeout(60):
            while not await ended():
                await asyncio.sleep(0.01)
    assert not [span.name for span in spans.all if span.name in {"queue", "decode", "infer"} or span.name.startswith("classify")]


async def test_calls_belong_to_the_trace_of_their_own_image_whoever_made_room_for_it(
    tmp_path: Path, spans: Spans, there: Endpoint
) -> None:
    azure_ml = {"endpoint": there.url, "key": KEY, "labels": list(LABELS), "max_in_flight": 1}
    async with client(tmp_path, azure_ml=azure_ml) as service:
        await ready(service)
        replies = await asyncio.gather(*(service.post("/v1/classify?backend=azure_ml", content=plain(9)) for _ in range(5)))
        assert {reply.status_code for reply in replies} == {200}
    calls = [span for span in spans.all if span.name == "POST"]
    assert len({span.context.trace_id for span in calls if span.context}) == len(calls) == 5


async def test_a_backend_that_fails_is_an_error_all_the_way_up(tmp_path: Path, spans: Spans, there: Endpoint) -> None:
    there.always = Reply(400, "no such thing")
    azure_ml = {"endpoint": there.url, "key": KEY, "labels": list(LABELS)}
    async with client(tmp_path, azure_ml=azure_ml) as service:
        assert (await service.post("/v1/classify?backend=azure_ml", content=plain(0))).status_code == 502
    server = spans.named("POST /v1/classify")
    assert (server.status.status_code, facts(server)["error.type"]) == (StatusCode.ERROR, "502")
    classify = spans.named("classify azure_ml")
    assert (classify.status.status_code, facts(classify)["error.type"]) == (StatusCode.ERROR, "RemoteFailed")
    assert "answered with status 400" in str(classify.status.description)


async def test_a_callers_own_mistake_is_no_error_of_the_server(tmp_path: Path, spans: Spans) -> None:
    async with client(tmp_path) as service:
        assert (await service.post("/v1/classify", content=b"no picture")).status_code == 415
        assert (await service.post("/v1/nothing")).status_code == 404
    assert spans.named("POST /v1/classify").status.status_code is StatusCode.UNSET
    assert facts(spans.named("classify tiny"))["error.type"] == "UnsupportedImage"
    assert facts(spans.named("POST"))["http.response.status_code"] == 404


async def test_words_of_others_than_the_service_stand_in_no_span(
    tmp_path: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_args: object) -> None:
        raise ValueError("the key is hunter2")

    monkeypatch.setattr("service.pipeline.Pipeline._infer", fail)
    async with client(tmp_path) as service:
        assert (await service.post("/v1/classify", content=plain(0))).status_code == 500
    classify = spans.named("classify tiny")
    assert (classify.status.status_code, classify.status.description) == (StatusCode.ERROR, None)
    assert facts(classify)["error.type"] == "ValueError"
    assert "hunter2" not in "".join(span.to_json() for span in spans.all)


async def test_a_callers_trace_goes_on(tmp_path: Path, spans: Spans) -> None:
    context = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-01", "tracestate": "a=1"}
    async with client(tmp_path, otel={"sample": 0}) as service:
        await service.post("/v1/classify", content=plain(0), headers=context)
        await service.post("/v1/classify", content=plain(0), headers={"traceparent": "nonsense"})
    server = spans.named("POST /v1/classify")
    assert server.context is not None
    assert server.parent is not None
    assert (f"{server.context.trace_id:032x}", f"{server.parent.span_id:016x}") == (PARENT, "00f067aa0ba902b7")
    assert server.context.trace_state.get("a") == "1"


@pytest.mark.parametrize(("sample", "flags"), [(0, None), (1, "00")])
async def test_what_is_not_sampled_is_not_recorded(tmp_path: Path, spans: Spans, sample: float, flags: str | None) -> None:
    context = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-{flags}"} if flags else {}
    async with client(tmp_path, otel={"sample": sample}) as service:
        assert (await service.post("/v1/classify", content=plain(0), headers=context)).status_code == 200
    assert spans.all == []


async def test_probes_scrapes_and_pages_are_of_no_trace(tmp_path: Path, spans: Spans) -> None:
    async with client(tmp_path) as service:
        for path in ("/livez", "/readyz", "/metrics", "/docs"):
            assert (await service.get(path)).status_code == 200
    assert spans.all == []


async def test_a_caller_who_hangs_up_is_seen(tmp_path: Path, spans: Spans) -> None:
    tiny_model(tmp_path / "store", labels=list(LABELS))
    app = create_app(load_settings())
    arriving: list[Message] = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"half", "more_body": True}]

    async def receive() -> Message:
        return arriving.pop()

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/classify", "query_string": b"", "scheme": "http"}
    async with app.router.lifespan_context(app):
        await app({**scope, "headers": [(b"host", b"localhost")], "client": None}, receive, send)
    server = spans.named("POST /v1/classify")
    assert facts(server)["error.type"] == "ClientDisconnect"
    assert "http.response.status_code" not in facts(server)
    assert facts(spans.named("upload")) == {"http.request.body.size": 4}


async def test_log_lines_name_their_trace_and_lines_of_no_request_name_none(tmp_path: Path, spans: Spans) -> None:
    written = io.StringIO()
    configure_logging("debug")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    try:
        async with client(tmp_path) as service:
            await service.post("/v1/classify", content=plain(0))
    finally:
        logging.getLogger().removeHandler(handler)
    records = [json.loads(line) for line in written.getvalue().splitlines()]
    (line,) = [record for record in records if record["message"] == "request"]
    server = spans.named("POST /v1/classify")
    assert server.context is not None
    assert (line["trace_id"], line["span_id"]) == (f"{server.context.trace_id:032x}", f"{server.context.span_id:016x}")
    assert not any("trace_id" in record for record in records if record["message"] == "backend ready")


async def test_a_service_that_is_not_traced_has_nothing_of_it_on_its_way(tmp_path: Path) -> None:
    tiny_model(tmp_path / "store", labels=list(LABELS))
    app = create_app(load_settings())
    async with app.router.lifespan_context(app):
        assert type(app.state.services.pipeline).__name__ == "Pipeline"
        assert type(app._edge) is Edge  # type: ignore[attr-defined]
