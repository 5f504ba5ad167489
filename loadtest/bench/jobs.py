"""What a load generator is told and what it answers: plain values that travel as JSON."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire."""

    data: bytes
    """Head and body."""
    needles: tuple[bytes, ...] = ()
    """What the body of a right 200 reply holds, each of them."""


@dataclass(frozen=True)
class Stream:
    """Requests of one kind: they have connections and figures of their own.

    Without a `rate` the loop is closed: `connections` of them, each of which sends its next request as soon as it has its reply.
    With a rate it is open: so many requests a second fall due whatever the replies do, and take a connection that is idle or a
    new one, up to `connections`; a request that finds none is not sent at all, and counted.
    """

    name: str
    requests: Sequence[Request]
    """Sent in turn, over and over."""
    connections: int
    rate: float | None = None
    begin_s: float = 0
    """Seconds into the measured time at which it begins; a stream that begins at 0 also sends during the warm-up."""
    end_s: float | None = None
    """Seconds into the measured time at which it ends; None: with it."""
    retries: int = 0
    """Open loop: how often a request is sent again, at once, when its connection breaks. Its latency goes on counting."""


@dataclass(frozen=True)
class Job:
    """One run of the generator against one address."""

    host: str
    port: int
    seconds: float
    streams: Sequence[Stream]
    warm_up_s: float = 0.5
    """Sends before the measured time, of which only wrong replies and errors are counted."""
    drain_s: float = 10
    """How long after the measured time replies are waited for."""
    tick_s: float = 0.5
    """Width of a step of the time lines."""

    def to_json(self) -> str:
        """For the standard input of `python -m loadtest.bench.generator`."""
        return json.dumps(asdict(self), default=_text_of_bytes)

    @staticmethod
    def from_json(text: str) -> "Job":
        """What `to_json` wrote."""
        values = json.loads(text)
        values["streams"] = [_stream(value) for value in values["streams"]]
        return Job(**values)


@dataclass(frozen=True)
class Latencies:
    """Milliseconds from the moment a request was sent (open loop: was due) to its whole reply."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True)
class Step:
    """One step of a time line: what ended in it."""

    at_s: float
    """Seconds since the measured time began; past its length while the last replies come in."""
    ok: int
    others: int


@dataclass(frozen=True)
class Outcome:
    """What became of one stream.

    Closed loop: counts what ended within the measured time. Open loop: counts what fell due within it, whenever it ended.
    """

    name: str
    seconds: float
    sent: int
    rate: float
    """Replies of status 200 a second."""
    statuses: Mapping[str, int]
    ok: Latencies | None
    """Of replies of status 200; None without any."""
    others: Latencies | None
    """Of all other replies."""
    wrong: int
    """Replies of status 200 that lack a needle, the warm-up's too."""
    errors: Mapping[str, int]
    """Connections that failed under a request, by kind, the warm-up's too."""
    not_sent: int = 0
    """Open loop: fell due while every connection was busy."""
    unanswered: int = 0
    """Open loop: no reply came within the drain time either."""
    lag_ms: float = 0
    """Open loop: 99th percentile of how late the generator itself sent what was due."""
    time_line: Sequence[Step] = ()
    retry_after: Mapping[str, int] = field(default_factory=dict)
    """Values of Retry-After, counted."""
    wrong_sample: str = ""
    """Beginning of the first wrong reply, for whoever looks for the reason."""
    other_sample: str = ""
    """Beginning of the first reply that was not 200."""
    again_s: Sequence[float] = ()
    """When connections broke under requests that were sent again then, in seconds since the measured time began."""

    @property
    def answered(self) -> int:
        """Replies of any status."""
        return sum(self.statuses.values())

    @staticmethod
    def from_values(values: Mapping[str, Any]) -> "Outcome":
        """Out of parsed JSON."""
        given = dict(values)
        given["ok"] = Latencies(**given["ok"]) if given["ok"] else None
        given["others"] = Latencies(**given["others"]) if given["others"] else None
        given["time_line"] = [Step(**step) for step in given["time_line"]]
        return Outcome(**given)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values: one of them, never a mean of two."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def _stream(values: dict[str, Any]) -> Stream:
    requests = [
        Request(base64.b64decode(request["data"]), tuple(base64.b64decode(needle) for needle in request["needles"]))
        for request in values["requests"]
    ]
    return Stream(**{**values, "requests": requests})


def _text_of_bytes(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} does not travel as JSON")
