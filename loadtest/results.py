"""What came of a load test: counted in each process, sent on as differences, added up in one place."""

from pydantic import BaseModel, Field

from loadtest.histogram import Histogram

KEPT_REASONS = 40
"""Different reasons of failures of a kind; what comes after them is counted under one name."""
STAGES = ("queue", "decode", "infer")
"""Of Server-Timing, in the order of the way through the service."""
SERVER, OUTSIDE = "server, total", "network and client"


class Tally(BaseModel):
    """Requests of one kind that fell due within the measured time."""

    sent: int = 0
    ok: int = 0
    """Answered as they should be: with 200, or bad input with the very problem that fits it."""
    shed: int = 0
    """Answered with 429: the server takes no more for now, and says so."""
    unsent: int = 0
    """Open loop: fell due, and was still waiting for a free caller at the end."""
    failures: dict[str, int] = Field(default_factory=dict)
    took: Histogram = Field(default_factory=Histogram)
    """Of those that are ok, milliseconds from when they should have gone out."""
    reply: Histogram = Field(default_factory=Histogram)
    """The same from when they did go out."""
    stages: dict[str, Histogram] = Field(default_factory=dict)
    """Server-Timing, and what it leaves of `reply`."""

    @property
    def failed(self) -> int:
        """For any reason, no reply at all included."""
        return sum(self.failures.values()) + self.unanswered

    @property
    def unanswered(self) -> int:
        """Sent, with no reply by the end of the drain time."""
        return max(0, self.sent - self.ok - self.shed - sum(self.failures.values()))

    @property
    def due(self) -> int:
        """Fell due."""
        return self.sent + self.unsent

    def ratio(self, count: int) -> float:
        """Of what fell due."""
        return count / self.due if self.due else 0.0

    def fail(self, reason: str) -> None:
        """Count a failure."""
        known = reason in self.failures or len(self.failures) < KEPT_REASONS
        key = reason if known else "other reasons"
        self.failures[key] = self.failures.get(key, 0) + 1

    def time(self, stage: str, milliseconds: float) -> None:
        """Count a stage."""
        self.stages.setdefault(stage, Histogram()).add(milliseconds)

    def merge(self, other: "Tally") -> None:
        """Add another's counts."""
        self.sent += other.sent
        self.ok += other.ok
        self.shed += other.shed
        self.unsent += other.unsent
        for reason, count in other.failures.items():
            self.failures[reason] = self.failures.get(reason, 0) + count
        self.took.merge(other.took)
        self.reply.merge(other.reply)
        for stage, histogram in other.stages.items():
            self.stages.setdefault(stage, Histogram()).merge(histogram)


class Step(BaseModel):
    """A step of the time line: what fell due in it and was answered."""

    ok: int = 0
    shed: int = 0
    failed: int = 0
    took: Histogram = Field(default_factory=Histogram)

    def merge(self, other: "Step") -> None:
        """Add another's counts."""
        self.ok += other.ok
        self.shed += other.shed
        self.failed += other.failed
        self.took.merge(other.took)


class Results(BaseModel):
    """All that was counted."""

    kinds: dict[str, Tally] = Field(default_factory=dict)
    steps: dict[int, Step] = Field(default_factory=dict)
    lag: Histogram = Field(default_factory=Histogram)
    """Open loop: milliseconds by which locust itself was late to hand out what fell due."""
    busy: dict[str, Histogram] = Field(default_factory=dict)
    """Of each locust process that sent, percent of one core, window by window."""

    @property
    def all(self) -> Tally:
        """The kinds together."""
        total = Tally()
        for tally in self.kinds.values():
            total.merge(tally)
        return total

    def merge(self, other: "Results") -> None:
        """Add another's counts."""
        for kind, tally in other.kinds.items():
            self.kinds.setdefault(kind, Tally()).merge(tally)
        for number, step in other.steps.items():
            self.steps.setdefault(number, Step()).merge(step)
        self.lag.merge(other.lag)
        for name, histogram in other.busy.items():
            self.busy.setdefault(name, Histogram()).merge(histogram)
