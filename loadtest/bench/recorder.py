"""Keeps what became of one stream's requests while they run, and sums it up afterwards."""

from collections import Counter
from collections.abc import Sequence

from loadtest.bench.jobs import Latencies, Outcome, Request, Step, Stream, percentile
from loadtest.bench.replies import Reply

SAMPLE_CHARACTERS = 300


class Recorder:
    """Times are seconds of one clock; `begin` and `end` bound the stream's measured time on it."""

    def __init__(self, stream: Stream, zero: float, seconds: float) -> None:
        """`zero`: when the job's measured time begins."""
        self.seconds = (seconds if stream.end_s is None else stream.end_s) - stream.begin_s
        self.begin = zero + stream.begin_s
        self.end = self.begin + self.seconds
        self._zero = zero
        self._stream = stream
        self._open = stream.rate is not None
        self._ended: list[float] = []
        """When replies of status 200 came; beside it their latencies."""
        self._took: list[float] = []
        self._others: list[tuple[float, float, int]] = []
        """When other replies came, what they took, their status."""
        self._retry_after: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._again: list[float] = []
        self._lags: list[float] = []
        self._sent = 0
        self._wrong = 0
        self._not_sent = 0
        self._wrong_sample = ""
        self._other_sample = ""

    def sent(self, since: float, now: float) -> None:
        """A request goes out; `since` is when it was due in an open loop."""
        if self.begin <= since < self.end:
            self._sent += 1
            if self._open:
                self._lags.append(now - since)

    def not_sent(self, due: float) -> None:
        """A request fell due and found no connection."""
        if self.begin <= due < self.end:
            self._not_sent += 1

    def replied(self, request: Request, since: float, now: float, reply: Reply) -> None:
        """A whole reply is here."""
        status, body, _, retry_after = reply
        if status == 200:
            for needle in request.needles:
                if needle not in body:
                    self._wrong += 1
                    self._wrong_sample = self._wrong_sample or _sample(body)
                    break
            self._ended.append(now)
            self._took.append(now - since)
            return
        self._others.append((now, now - since, status))
        self._other_sample = self._other_sample or f"{status} {_sample(body)}"
        if retry_after:
            self._retry_after[retry_after] += 1

    def failed(self, error: Exception) -> None:
        """A connection broke under a request."""
        self._errors[type(error).__name__] += 1

    def again(self, now: float) -> None:
        """A connection broke under a request, which is sent once more."""
        self._again.append(now - self._zero)

    def outcome(self, unanswered: int, tick_s: float) -> Outcome:
        """Sum up. `unanswered`: requests that are still under way."""
        ok = [took for ended, took in zip(self._ended, self._took, strict=True) if self._counts(ended, took)]
        others = [(took, status) for ended, took, status in self._others if self._counts(ended, took)]
        statuses = Counter(str(status) for _, status in others)
        if ok:
            statuses["200"] = len(ok)
        return Outcome(
            name=self._stream.name,
            seconds=self.seconds,
            sent=self._sent,
            rate=len(ok) / self.seconds,
            statuses=dict(sorted(statuses.items())),
            ok=summary(ok),
            others=summary([took for took, _ in others]),
            wrong=self._wrong,
            errors=dict(self._errors),
            not_sent=self._not_sent,
            unanswered=unanswered,
            lag_ms=1000 * percentile(sorted(self._lags), 0.99) if self._lags else 0,
            time_line=self._time_line(tick_s),
            retry_after=dict(self._retry_after),
            wrong_sample=self._wrong_sample,
            other_sample=self._other_sample,
            again_s=self._again,
        )

    def _counts(self, ended: float, took: float) -> bool:
        return self.begin <= (ended - took if self._open else ended) < self.end

    def _time_line(self, tick_s: float) -> list[Step]:
        ok = Counter(int((ended - self._zero) // tick_s) for ended in self._ended if ended >= self._zero)
        others = Counter(int((ended - self._zero) // tick_s) for ended, _, _ in self._others if ended >= self._zero)
        last = max([*ok, *others], default=-1)
        return [Step(round(step * tick_s, 6), ok[step], others[step]) for step in range(last + 1)]


def summary(seconds: Sequence[float]) -> Latencies | None:
    """Percentiles in milliseconds; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p90, p99, top = (round(1000 * percentile(ordered, share), 4) for share in (0.5, 0.9, 0.99, 1))
    return Latencies(len(ordered), p50, p90, p99, top)


def _sample(body: bytes) -> str:
    return body[:SAMPLE_CHARACTERS].decode("utf-8", "replace")
