"""The highest rate that still meets a target, and what a wanted rate costs at that."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.results import SERVER, Results

HOURS_A_MONTH = 730.0
MAX_FAILURE_RATIO = 0.001
"""Of what fell due; what was shed or found no caller counts as failed here: at its capacity a server does neither."""
PRECISION = 0.05
"""How near the search comes, as a ratio."""
STEP_DOWN = 0.9
"""How far down it goes when what the search found does not hold for longer."""
LOWEST = 0.5
"""Requests a second below which it gives up."""


@dataclass(frozen=True)
class Probe:
    """One rate that was tried."""

    rate: float
    p50: float | None
    p99: float | None
    failure_ratio: float
    met: bool
    doubt: str = ""
    """Why this says nothing of the server, if it does not: locust was the bottleneck."""
    confirms: bool = False
    """The rate was found, and tried for longer."""


@dataclass(frozen=True)
class Capacity:
    """What the search found."""

    probes: Sequence[Probe]
    rate: float
    """The highest rate that held; 0 if none did."""
    bounded: bool
    """Whether a higher rate was seen to fail: else the capacity is at least this, and locust or --max-rate was the end."""


@dataclass(frozen=True)
class Cost:
    """Of a wanted rate."""

    replicas: int
    usd_a_month: float | None


def probe_of(rate: float, results: Results, p99_ms: float, doubts: Sequence[str], *, confirms: bool = False) -> Probe:
    """Judge a test at one rate."""
    total = results.all
    p99 = total.took.percentile(0.99)
    bad = total.ratio(total.failed + total.shed + total.unsent)
    met = p99 is not None and p99 <= p99_ms and bad < MAX_FAILURE_RATIO
    # On one machine a server beyond its capacity makes locust late, too: what it says itself is then believed all the same.
    own = max(
        (tally.stages[SERVER].percentile(0.99) or 0.0 for tally in results.kinds.values() if SERVER in tally.stages), default=0
    )
    guilty = not met and (own > p99_ms or total.ratio(total.shed) >= MAX_FAILURE_RATIO)
    return Probe(rate, total.took.percentile(0.5), p99, bad, met, "" if guilty else "; ".join(doubts), confirms)


def search(
    attempt: Callable[[float, bool], Probe], start: float, ceiling: float = math.inf, precision: float = PRECISION
) -> Capacity:
    """Double the rate until it fails (halve it, if the first does), halve the gap until it is small, then confirm.

    `attempt(rate, confirms)` tries a rate. One whose result is in doubt bounds the search as a failure would, but proves none.
    """
    probes: list[Probe] = []

    def holds(rate: float, *, confirms: bool = False) -> bool:
        probes.append(attempt(rate, confirms))
        return probes[-1].met and not probes[-1].doubt

    low, high = 0.0, math.inf
    rate = min(start, ceiling)
    while holds(rate):
        low = rate
        if rate >= ceiling:
            break
        rate = min(2 * rate, ceiling)
    else:
        high = rate
    while not low and high / 2 >= LOWEST:
        if holds(high / 2):
            low = high / 2
        else:
            high /= 2
    while low and high < math.inf and high / low > 1 + precision:
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    while low >= LOWEST and not holds(low, confirms=True):
        high, low = low, low * STEP_DOWN
    found = low if low >= LOWEST else 0.0
    bounded = any(not probe.met and not probe.doubt for probe in probes if probe.rate > found)
    return Capacity(probes, found, bounded)


def cost(wanted_rate: float, capacity: float, headroom: float, usd_per_hour: float | None) -> Cost:
    """Replicas that run at `headroom` of their capacity, and their price a month. Raises `ValueError` without any capacity."""
    if capacity <= 0:
        raise ValueError("a server without capacity serves no rate, however often it is there")
    replicas = max(1, math.ceil(wanted_rate / (capacity * headroom) - 1e-9))
    return Cost(replicas, None if usd_per_hour is None else replicas * usd_per_hour * HOURS_A_MONTH)
