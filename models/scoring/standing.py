"""Backends held against each other: who is certainly more accurate, who is cheaper, who is faster."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.metadata import Change
from models.scoring import words
from models.scoring.facts import Mode
from models.scoring.results import LEVEL, BackendResult, Pair

NOISE = 0.1
"""Figures of cost and speed that differ by less are the same: they vary so much from run to run, and more where a backend was
busy for less than a second: then so many seconds of other work are a larger part."""


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
        return _least(among, price)

    def fastest(self, among: Sequence[BackendResult]) -> BackendResult | None:
        """The same of speed."""
        return _least(among, self.pace)

    def times_dearer(self, dear: BackendResult, cheap: BackendResult) -> str | None:
        """How many times dearer one is; None unless it is, by more than chance."""
        ratio = _ratio(price(dear), price(cheap))
        return words.times(ratio) if ratio is not None and math.inf > ratio >= margin(dear, cheap) else None

    def beaten_by(self, one: BackendResult) -> BackendResult | None:
        """Another, not worse in anything as far as was measured, and better in something by more than chance; None if none is."""
        return next((other for other in self.judged if other is not one and self._beats(other, one)), None)

    def _beats(self, one: BackendResult, other: BackendResult) -> bool:
        ratios = [_ratio(price(other), price(one)), _ratio(self.pace(other), self.pace(one))]
        if any(ratio is None or ratio < 1 / (1 + NOISE) for ratio in ratios) or self.ahead(other, one):
            return False
        return self.ahead(one, other) or any(ratio is not None and ratio > margin(one, other) for ratio in ratios)


def margin(*results: BackendResult) -> float:
    """How many times apart figures must be that come from these backends' time."""
    shortest = min((one.facts.seconds for one in results if one.facts.seconds), default=1.0)
    return 1 + NOISE / min(1.0, shortest)


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


def _least(among: Sequence[BackendResult], value: Callable[[BackendResult], float | None]) -> BackendResult | None:
    known = [(figure, one) for one in among if (figure := value(one)) is not None]
    if len(known) < len(among) or len(known) < 2:
        return None
    (least, one), *others = sorted(known, key=lambda pair: pair[0])
    return one if all(figure > 0 and figure >= least * margin(one, other) for figure, other in others) else None


def _ratio(value: float | None, to: float | None) -> float | None:
    if value is None or to is None:
        return None
    return value / to if to else (1.0 if not value else float("inf"))
