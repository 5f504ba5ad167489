"""A stand-in for an OpenTelemetry collector: a real HTTP server on loopback that decodes what OTLP sends."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


@dataclass(frozen=True)
class Sent:
    """A span, or a metric's data point."""

    name: str
    who: Mapping[str, Any]
    """Attributes of the process that sent it."""
    facts: Mapping[str, Any]
    data: Any


@dataclass
class Collector:
    """What came, in order."""

    port: int = 0
    spans: list[Sent] = field(default_factory=list)
    points: list[Sent] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    """Set: it takes requests and answers none, until it is cleared."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.headers.append(headers)
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for resource in traces.resource_spans:
                who = _plain(resource.resource.attributes)
                found = [span for scope in resource.scope_spans for span in scope.spans]
                self.spans += [Sent(span.name, who, _plain(span.attributes), span) for span in found]
        else:
            assert path == "/v1/metrics", path
            metrics = ExportMetricsServiceRequest.FromString(body)
            for resource in metrics.resource_metrics:
                who = _plain(resource.resource.attributes)
                for metric in [metric for scope in resource.scope_metrics for metric in scope.metrics]:
                    data = getattr(metric, str(metric.WhichOneof("data")))
                    self.points += [Sent(metric.name, who, _plain(point.attributes), point) for point in data.data_points]

    def span(self, name: str) -> Sent:
        """The one span of this name."""
        (found,) = [one for one in self.spans if one.name == name]
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen for the length of a block."""
    collector = Collector()
    answering = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if collector.silent.is_set():
                answering.wait()
                return
            collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield collector
    finally:
        answering.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _plain(attributes: Any) -> dict[str, Any]:  # noqa: ANN401  # a repeated field, whose type protobuf makes at run time
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:  # noqa: ANN401
    return getattr(value, str(value.WhichOneof("value")))
