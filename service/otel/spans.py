"""Spans of OpenTelemetry's SDK, whose times come from the clock that the service measures with."""

import time
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from models import __version__
from service.tracing import Facts


class Recorder:
    """Begins traces, or goes on with those of callers."""

    def __init__(self, provider: TracerProvider) -> None:
        """Not the process's default provider: FastAPI looks for that one, and would tell of the same requests again."""
        self._tracer = provider.get_tracer("parallax", __version__)
        self._parents = TraceContextTextMapPropagator()

    def begin(self, name: str, headers: Mapping[str, str], facts: Facts) -> "Recorded":
        """A server's span. `headers`: `traceparent` and `tracestate` of the request, if it has them (W3C Trace Context)."""
        now = time.time_ns()
        clock = now - time.perf_counter_ns()
        parent = self._parents.extract(headers, Context()) if headers else Context()
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, facts, start_time=now)
        return Recorded(self._tracer, span, clock)


class Recorded:
    """A `service.tracing.Span`."""

    __slots__ = ("_clock", "_span", "_tracer", "recording")

    def __init__(self, tracer: Tracer, span: Span, clock: int) -> None:
        """`clock`: nanoseconds since the epoch when `time.perf_counter` was 0: one for a whole trace, so that its steps nest."""
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self.recording = span.is_recording()

    @property
    def ids(self) -> tuple[str, str]:
        context = self._span.get_span_context()
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def begin(self, name: str, facts: Facts, *, client: bool = False) -> "Recorded":
        kind = SpanKind.CLIENT if client else SpanKind.INTERNAL
        return Recorded(self._tracer, self._child(name, kind, facts, time.perf_counter()), self._clock)

    def past(self, name: str, began: float, ended: float, facts: Facts) -> None:
        self._child(name, SpanKind.INTERNAL, facts, began).end(self._epoch(ended))

    def note(self, facts: Facts) -> None:
        self._span.set_attributes(facts)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def failed(self, kind: str, reason: str = "") -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, reason or None))

    def end(self) -> None:
        self._span.end(self._epoch(time.perf_counter()))

    def _child(self, name: str, kind: SpanKind, facts: Facts, began: float) -> Span:
        around = set_span_in_context(self._span, Context())
        return self._tracer.start_span(name, around, kind, facts, start_time=self._epoch(began))

    def _epoch(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._clock
