"""Confusion matrices as a page shows them: a table for few classes, a map for many, and for any number who is taken for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.scoring.results import BackendResult, Quality

MAX_TABLE = 16
"""Classes up to which each count is a cell of a table that can be read."""
MAX_MAP = 150
"""Classes up to which each count is a spot on a map: more can't be named beside it."""
MAX_ROWS = 40
"""Classes that the table of classes shows at most."""
MIXUPS = 12
MARGIN = 15
"""Room for the names beside and above a map, in cells."""
WIDTH_REM = 71
"""Of the page's column, which a map fills unless its cells would become too large or too small."""


class Spot(NamedTuple):
    """One count that is not 0."""

    row: int
    column: int
    images: int
    of: int
    """Images of the row's class."""

    @property
    def share(self) -> float:
        """Of the row."""
        return self.images / self.of


class Mixup(NamedTuple):
    """One class taken for another."""

    label: str
    named: str
    images: int
    of: int


@dataclass(frozen=True)
class Matrix:
    """Of one backend."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    mixups: tuple[Mixup, ...]
    """The most frequent."""
    kinds: int
    """Of mix-ups, in all."""

    @property
    def form(self) -> str:
        """How it is shown."""
        return "table" if len(self.labels) <= MAX_TABLE else "map" if len(self.labels) <= MAX_MAP else "list"

    @property
    def spots(self) -> list[Spot]:
        """What a map shows."""
        return [Spot(i, j, count, sum(row)) for i, row in enumerate(self.counts) for j, count in enumerate(row) if count]

    @property
    def side(self) -> int:
        """Of a map with its margin, in cells."""
        return len(self.labels) + MARGIN

    @property
    def cell_rem(self) -> float:
        """A map's cell, so that its names can be read and few classes make no huge one."""
        return round(min(1.1, max(0.61, WIDTH_REM / self.side)), 3)


def matrices(judged: Sequence[BackendResult]) -> list[Matrix]:
    """One for each backend whose answers could be judged."""
    return [_matrix(one.name, one.quality) for one in judged if one.quality]


def _matrix(name: str, quality: Quality) -> Matrix:
    labels = tuple(row.label for row in quality.classes)
    found = [
        Mixup(labels[i], labels[j], count, sum(row))
        for i, row in enumerate(quality.confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    most = sorted(found, key=lambda mixup: -mixup.images)[:MIXUPS]
    return Matrix(name, labels, quality.confusion, tuple(most), len(found))


def hardest(judged: Sequence[BackendResult], labels: Sequence[str]) -> list[str]:
    """All labels in their order, or where they are many those that are named worst."""
    if len(labels) <= MAX_ROWS:
        return list(labels)
    sums: Mapping[str, list[float]] = {label: [] for label in labels}
    for one in judged:
        for row in one.quality.classes if one.quality else ():
            if row.f1 is not None:
                sums[row.label].append(row.f1)
    known = [label for label in labels if sums[label]]
    return sorted(known, key=lambda label: sum(sums[label]) / len(sums[label]))[:MAX_ROWS]
