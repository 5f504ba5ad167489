"""How load goes over time, and when requests fall due under it."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Curve:
    """Levels between 0 and 1 over seconds: straight lines between points, two points at one moment are a jump."""

    points: tuple[tuple[float, float], ...]
    """Seconds and level, in the order of time; the first at 0."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.points[-1][0]

    def level(self, at_s: float) -> float:
        """The level at a moment; at a jump the later one. Before the curve its first level, after it its last."""
        if at_s < 0:
            return self.points[0][1]
        for (start, low), (end, high) in pairwise(self.points):
            if start <= at_s < end:
                return low + (high - low) * (at_s - start) / (end - start)
        return self.points[-1][1]

    def area(self, until_s: float = math.inf) -> float:
        """Seconds at the full level that the curve is worth until a moment."""
        total = 0.0
        for (start, low), (end, high) in pairwise(self.points):
            width = min(end, until_s) - start
            if width <= 0:
                break
            reached = high if until_s >= end else low + (high - low) * width / (end - start)
            total += (low + reached) / 2 * width
        return total

    def when(self, area: float) -> float | None:
        """The moment at which `area` has come together, None if it never does: the inverse of `area`."""
        left = area
        for (start, low), (end, high) in pairwise(self.points):
            width = end - start
            whole = (low + high) / 2 * width
            if left <= whole and whole > 0:
                slope = (high - low) / width
                # The root of low*x + slope/2*x^2 = left, in the form that loses no digits where the slope is small.
                root = math.sqrt(max(0.0, low * low + 2 * slope * left))
                return min(end, start + (2 * left / (low + root) if low + root else 0.0))
            left -= whole
        return None


def steady(seconds: float) -> Curve:
    """The full level all the time."""
    return Curve(((0, 1), (seconds, 1)))


def ramp(seconds: float) -> Curve:
    """From nothing to the full level in four fifths of the time, then on it."""
    return Curve(((0, 0), (0.8 * seconds, 1), (seconds, 1)))


def spike(seconds: float) -> Curve:
    """A fifth of the level, all of it at once for the middle third, a fifth again: how it takes that, and how it recovers."""
    third = seconds / 3
    return Curve(((0, 0.2), (third, 0.2), (third, 1), (2 * third, 1), (2 * third, 0.2), (seconds, 0.2)))


def soak(seconds: float) -> Curve:
    """A gentle start of a twentieth of the time, then the full level: what grows only slowly has the time to show."""
    return Curve(((0, 0.2), (0.05 * seconds, 1), (seconds, 1)))


SHAPES: Mapping[str, Callable[[float], Curve]] = {"steady": steady, "ramp": ramp, "spike": spike, "soak": soak}
SECONDS: Mapping[str, float] = {"steady": 30, "ramp": 60, "spike": 60, "soak": 3600}
"""How long each takes unless told otherwise."""


def arrivals(curve: Curve, rate: float, seed: str, *, poisson: bool = False) -> Iterator[float]:
    """When requests fall due, in seconds from the curve's begin: `rate` a second at the full level.

    Evenly spaced, from a phase that the seed chooses, so that several sources interleave; or as a Poisson process, as callers who
    know nothing of each other come.
    """
    if rate <= 0:
        return
    chance = random.Random(seed)  # noqa: S311  # nothing depends on its being hard to guess
    wanted = chance.expovariate(1) if poisson else chance.random()
    while (due := curve.when(wanted / rate)) is not None:
        yield due
        wanted += chance.expovariate(1) if poisson else 1
