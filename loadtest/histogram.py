"""Latencies, kept as counts: small however long a test runs, and added up over processes without loss."""

import math

from pydantic import BaseModel, Field

STEP = 1.01
"""Width of a bucket as a ratio: a percentile is off by half a percent at most."""
LEAST_MS = 0.001
_LOG = math.log(STEP)


class Histogram(BaseModel):
    """Counts of milliseconds in buckets that widen with the value. Locust's own are whole milliseconds: too coarse."""

    counts: dict[int, int] = Field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many values."""
        return sum(self.counts.values())

    def add(self, value: float) -> None:
        """Count a value; what is below a thousandth counts as that."""
        bucket = round(math.log(max(value, LEAST_MS) / LEAST_MS) / _LOG)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: "Histogram") -> None:
        """Add another's counts."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def percentile(self, share: float) -> float | None:
        """The nearest-rank percentile; None of nothing."""
        rank = max(1, math.ceil(self.total * share - 1e-9))  # 0.07 * 100 is a little more than 7
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return LEAST_MS * STEP**bucket
        return None
