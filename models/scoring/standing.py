"""Backends held against each other: who is certainly more accurate, who is cheaper, who is faster."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.metadata import Change
from models.scoring import words
from models.scoring.facts import Mode
from models.scoring.results import LEVEL, BackendResult, Pair

DISTURBED_S = 0.1
"""Of a second: so much may other work on a machine add to or take from a backend's time, and of longer times that share."""


@dataclass(frozen=True)
class Gap:
    """Accuracy of one backend less that of another."""

    change: Change
    p: float

    @property
    def certain(self) -> bool:
        """Whether chance is ruled out, at the usual level, for all pairs together."""
        return self.p < LEVEL


class Standing:
    """All comparisons that a verdict draws on. Only backends whose accuracy is known take part."""

    def __init__(self, mode: Mode, results: Sequence[BackendResult], pairs: Sequence[Pair]) -> None:
        self.mode = mode
        self.judged = sorted((one for one in results if one.quality), key=_rank)
        self.margin = margin(self.judged)
        self._gaps: dict[tuple[str, str], Gap] = {}
        for pair in pairs:
            if pair.test:
                there, p = pair.test.difference, pair.test.p_holm
                self._gaps[pair.first, pair.second] = Gap(there, p)
                self._gaps[pair.second, pair.first] = Gap(_turned(there), p)

    @property
    def best(self) -> BackendResult:
        """The one with the highest accuracy, whether certainly or not."""
        return self.judged[0]

    @property
    def leaders(self) -> list[BackendResult]:
        """The best one, and those that can't be told from it."""
        return [one for one in self.judged if one is self.best or not self.ahead(self.best, one)]

    @property
    def pick(self) -> BackendResult:
        """Of the leaders, whom to take if nothing else counts: the cheapest, else the fastest, else the best."""
        return self.cheapest(self.leaders) or self.fastest(self.leaders) or self.best

    def gap(self, one: BackendResult, other: BackendResult) -> Gap | None:
        """On the images that both answered; None if there are none."""
        return self._gaps.get((one.name, other.name))

    def ahead(self, one: BackendResult, other: BackendResult) -> bool:
        """Whether one is certainly more accurate than another."""
        gap = self.gap(one, other)
        return gap is not None and gap.certain and gap.change.value > 0

    def pace(self, one: BackendResult) -> float | None:
        """Time by which speed is compared, in ms: an answer's in latency mode, else an image's share of a second."""
        if self.mode == "latency":
            return one.latency.total.p50 if one.latency else None
        return 1000 / one.images_per_second if one.images_per_second else None

    def cheapest(self, among: Sequence[BackendResult]) -> BackendResult | None:
        """The one that costs the least an image, by more than chance; None if one's price is not known."""
        return self._least(among, [price(one) for one in among])

    def fastest(self, among: Sequence[BackendResult]) -> BackendResult | None:
        """The same of speed."""
        return self._least(among, [self.pace(one) for one in among])

    def times(self, dear: float | None, cheap: float | None) -> str | None:
        """How many times dearer one is; None unless it is, by more than chance."""
        return words.times(dear / cheap) if dear and cheap and dear / cheap >= self.margin else None

    def beaten_by(self, one: BackendResult) -> BackendResult | None:
        """Another that is certainly not worse in anything, and better in something; None if there is none, or nobody can know."""
        return next((other for other in self.judged if other is not one and self._beats(other, one)), None)

    def _beats(self, one: BackendResult, other: BackendResult) -> bool:
        ratios = [_ratio(price(other), price(one)), _ratio(self.pace(other), self.pace(one))]
        if any(ratio is None or ratio < 1 / self.margin for ratio in ratios) or self.ahead(other, one):
            return False
        return self.ahead(one, other) or any(ratio is not None and ratio > self.margin for ratio in ratios)

    def _least(self, among: Sequence[BackendResult], values: Sequence[float | None]) -> BackendResult | None:
        known = [value for value in values if value is not None]
        if len(known) < len(values) or len(known) < 2:
            return None
        least, second = sorted(known)[:2]
        return among[values.index(least)] if second >= least * self.margin and second > 0 else None


def margin(results: Sequence[BackendResult]) -> float:
    """Figures of cost and speed closer than so many times are the same: 1.1, and more if a backend was busy for less than 1 s."""
    shortest = min((one.facts.seconds for one in results if one.facts.seconds), default=1.0)
    return 1 + DISTURBED_S / min(1.0, shortest)


def price(one: BackendResult) -> float | None:
    """USD per 1,000 images."""
    return one.cost.usd_per_1000 if one.cost else None


def _turned(change: Change) -> Change:
    """The same, seen from the other side."""
    ends = {"value": -change.value, "low": -change.high, "high": -change.low}
    return change.model_copy(update={"gained": change.lost, "lost": change.gained, **ends})


def _rank(one: BackendResult) -> tuple[float, float, str]:
    assert one.quality  # noqa: S101  # the caller's filter
    cost = price(one)
    return (-one.quality.accuracy.value, float("inf") if cost is None else cost, one.name)


def _ratio(value: float | None, to: float | None) -> float | None:
    if value is None or to is None:
        return None
    return value / to if to else (1.0 if not value else float("inf"))
