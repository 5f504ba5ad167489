"""Backends held against each other: who is certainly more accurate, who is cheaper, who is faster."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.metadata import Change
from models.scoring.facts import Mode
from models.scoring.results import BackendResult, Pair

LEVEL = 0.05
"""What an adjusted p-value must stay below."""
MARGIN = 1.1
"""Figures of cost and speed closer than this are the same: they vary so much from run to run."""


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
                back = there.model_copy(
                    update={
                        "gained": there.lost, "lost": there.gained, "value": -there.value, "low": -there.high, "high": -there.low
                    }
                )  # fmt: skip
                self._gaps[pair.first, pair.second] = Gap(there, p)
                self._gaps[pair.second, pair.first] = Gap(back, p)

    @property
    def best(self) -> BackendResult:
        """The one with the highest accuracy, whether certainly or not."""
        return self.judged[0]

    @property
    def leaders(self) -> list[BackendResult]:
        """The best one, and those that can't be told from it."""
        return [one for one in self.judged if one is self.best or not self.ahead(self.best, one)]

    def gap(self, one: BackendResult, other: BackendResult) -> Gap | None:
        """On the images that both answered; None if there are none."""
        return self._gaps.get((one.name, other.name))

    def ahead(self, one: BackendResult, other: BackendResult) -> bool:
        """Whether one is certainly more accurate than another."""
        gap = self.gap(one, other)
        return gap is not None and gap.certain and gap.change.value > 0

    def pace(self, one: BackendResult) -> float | None:
        """Time by which speed is compared, in ms: an answer's in latency mode, an image's share of a second in throughput mode."""
        if self.mode == "latency":
            return one.latency.total.p50 if one.latency else None
        return 1000 / one.images_per_second if one.images_per_second else None

    def cheapest(self, among: Sequence[BackendResult]) -> BackendResult | None:
        """The one that costs the least an image, by more than chance; None if one's price is not known."""
        return _least(among, [price(one) for one in among])

    def fastest(self, among: Sequence[BackendResult]) -> BackendResult | None:
        """The same of speed."""
        return _least(among, [self.pace(one) for one in among])

    def beaten_by(self, one: BackendResult) -> BackendResult | None:
        """Another that is certainly not worse in anything, and better in something; None if there is none, or nobody can know."""
        return next((other for other in self.judged if other is not one and self._beats(other, one)), None)

    def _beats(self, one: BackendResult, other: BackendResult) -> bool:
        ratios = [_ratio(price(other), price(one)), _ratio(self.pace(other), self.pace(one))]
        if any(ratio is None or ratio < 1 / MARGIN for ratio in ratios) or self.ahead(other, one):
            return False
        return self.ahead(one, other) or any(ratio is not None and ratio > MARGIN for ratio in ratios)


def price(one: BackendResult) -> float | None:
    """USD per 1,000 images."""
    return one.cost.usd_per_1000 if one.cost else None


def _rank(one: BackendResult) -> tuple[float, float, str]:
    assert one.quality  # noqa: S101  # the caller's filter
    cost = price(one)
    return (-one.quality.accuracy.value, float("inf") if cost is None else cost, one.name)


def _least(among: Sequence[BackendResult], values: Sequence[float | None]) -> BackendResult | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) < 2:
        return None
    least, second = sorted(known)[:2]
    return among[values.index(least)] if second >= least * MARGIN and second > 0 else None


def _ratio(value: float | None, to: float | None) -> float | None:
    if value is None or to is None:
        return None
    return value / to if to else (1.0 if not value else float("inf"))
