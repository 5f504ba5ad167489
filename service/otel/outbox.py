"""Spans on their way out: in batches, on a thread of their own, and never more of them than agreed."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from service.tracing import SpanCounts


class Outbox(SpanProcessor):
    """The SDK's batch processor behind a count: it drops the oldest without telling how many, this the newest."""

    def __init__(self, exporter: SpanExporter, max_spans: int) -> None:
        """`max_spans`: that wait or are being sent."""
        self.counts = SpanCounts()
        self._max_spans = max_spans
        self._taken = 0
        self._counting = _Counting(exporter, self.counts)
        self._batches = BatchSpanProcessor(self._counting, max_queue_size=max_spans)

    def on_end(self, span: ReadableSpan) -> None:
        """Take one, or drop it. Comes on the event loop; the other counters are the sender's, so none needs a lock."""
        if self._taken - self._counting.done >= self._max_spans:
            self.counts.dropped += 1
            return
        self._taken += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits, then close. Blocks; `give_up` lets it end sooner."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> None:
        """Try nothing again: what waits has failed."""
        self._counting.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits now. Blocks."""
        return self._batches.force_flush(timeout_millis)


class _Counting(SpanExporter):
    """Counts what another exporter made of its spans."""

    def __init__(self, exporter: SpanExporter, counts: SpanCounts) -> None:
        self._exporter = exporter
        self._counts = counts
        self._closed = False
        self.done = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.done += len(spans)
            if result is SpanExportResult.SUCCESS:
                self._counts.sent += len(spans)
            else:
                self._counts.failed += len(spans)
        return result

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()
