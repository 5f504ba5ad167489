"""Where the running task stands in a trace, for whoever has a step to tell of.

Nothing here knows OpenTelemetry. Without an exporter (`service/otel`) no trace is ever begun, and a step costs a look.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from models.errors import ParallaxError
from service.domain import Identity

Facts: TypeAlias = Mapping[str, str | int | float | bool]
"""Attributes, by the names of OpenTelemetry's semantic conventions where there are any, else `parallax.*`."""


class Span(Protocol):
    """A step of a trace. Times are those of `time.perf_counter`, in seconds."""

    @property
    def recording(self) -> bool:
        """Whether anybody will see it: a trace that was not sampled has ids all the same."""
        ...

    @property
    def ids(self) -> tuple[str, str]:
        """Of the trace, 32 hexadecimal digits, and its own, 16."""
        ...

    def begin(self, name: str, facts: Facts, *, client: bool = False) -> "Span":
        """A step within it, from now on. `client`: it asks another service."""
        ...

    def past(self, name: str, began: float, ended: float, facts: Facts) -> None:
        """A step within it that is over."""
        ...

    def note(self, facts: Facts) -> None:
        """Add attributes."""
        ...

    def rename(self, name: str) -> None:
        """Give it the name that was not known when it began."""
        ...

    def failed(self, kind: str, reason: str = "") -> None:
        """It went wrong. `reason`: what a caller may read."""
        ...

    def end(self) -> None:
        """It is over."""
        ...


HERE: ContextVar[Span | None] = ContextVar("parallax.span", default=None)
"""The step under way. None: nobody traces."""


@dataclass
class SpanCounts:
    """What became of the spans of this process."""

    sent: int = 0
    failed: int = 0
    """The collector did not take them."""
    dropped: int = 0
    """More came than could be sent."""


@contextmanager
def step(name: str, facts: Facts, *, client: bool = False) -> Iterator[Span | None]:
    """The block as a step within the one under way; None outside of any trace that is recorded. What it raises fails the step."""
    around = HERE.get()
    if around is None or not around.recording:
        yield None
        return
    span = around.begin(name, facts, client=client)
    token = HERE.set(span)
    try:
        yield span
    except BaseException as exc:
        # Others' words may repeat what no trace should hold.
        span.failed(type(exc).__name__, str(exc) if isinstance(exc, ParallaxError) else "")
        raise
    finally:
        HERE.reset(token)
        span.end()


def model_facts(identity: Identity) -> dict[str, str]:
    """Which model, and on what."""
    return {
        "parallax.backend": identity.name,
        "parallax.version": identity.version,
        "parallax.precision": identity.precision,
        "parallax.provider": identity.provider,
    }


class TraceIds(logging.Filter):
    """Gives each record the ids of the trace that it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        span = HERE.get()
        if span is not None:
            record.trace_id, record.span_id = span.ids
        return True
