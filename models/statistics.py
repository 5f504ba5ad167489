"""How well a classifier does, and how sure of that one may be. Thin over scipy and scikit-learn, which load on first use."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.metadata import Accuracy, Change


@dataclass(frozen=True)
class ClassScore:
    """One class of a report."""

    label: str
    precision: float
    recall: float
    f1: float
    images: int


@dataclass(frozen=True)
class Report:
    """What a labelled set says of a classifier. `confusion[i][j]` counts images of class i that were named j."""

    accuracy: Accuracy
    classes: list[ClassScore]
    confusion: list[list[int]]


def accuracy(correct: int, images: int) -> Accuracy:
    """Share of right answers with its 95 % score interval (Wilson, 1927, doi:10.2307/2276774)."""
    from scipy.stats import binomtest

    interval = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    low, high = max(0.0, float(interval.low)), min(1.0, float(interval.high))
    return Accuracy(correct=correct, images=images, value=correct / images, low=low, high=high)


def change(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> Change:
    """Share of right answers `after` less that `before`, of the same images in the same order [N], with its 95 % interval.

    Newcombe's method 10 (Statistics in Medicine 17, 1998, 2635-2650): Wilson's intervals of both shares, joined as far as their
    correlation lets them move apart.
    """
    images, both, neither = len(before), int((before & after).sum()), int((~before & ~after).sum())
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    new, old = accuracy(both + gained, images), accuracy(both + lost, images)
    excess = float(both * neither - gained * lost)
    if excess > 0:
        excess = max(0.0, excess - images / 2)  # the correction for continuity
    margins = new.correct * old.correct * (images - new.correct) * (images - old.correct)
    correlation = excess / math.sqrt(margins) if margins else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    value = (gained - lost) / images
    low = value - reach(new.value - new.low, old.high - old.value)
    high = value + reach(old.value - old.low, new.high - new.value)
    return Change(images=images, gained=gained, lost=lost, value=value, low=max(-1.0, low), high=min(1.0, high))


def report(targets: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], labels: Sequence[str]) -> Report:
    """Judge class numbers [N] against the true ones [N]."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    numbers = list(range(len(labels)))
    columns = precision_recall_fscore_support(targets, predicted, labels=numbers, zero_division=0.0)
    classes = [
        ClassScore(label, float(precision), float(recall), float(f1), int(images))
        for label, precision, recall, f1, images in zip(labels, *columns, strict=True)
    ]
    matrix = confusion_matrix(targets, predicted, labels=numbers)
    return Report(accuracy(int((targets == predicted).sum()), len(targets)), classes, matrix.tolist())


def macro_f1(targets: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
    """Mean F1 of the classes that have images, each counting the same."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets, predicted, labels=np.unique(targets), average="macro", zero_division=0.0))


def log_loss(targets: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], smallest: float) -> float:
    """Mean of -ln of what the true class got, in nats. Scores [N, classes] are raised to `smallest` and made to sum to 1."""
    from sklearn.metrics import log_loss as of

    shares = np.clip(scores, smallest, None)
    shares /= shares.sum(axis=1, keepdims=True)
    return float(of(targets, shares, labels=np.arange(scores.shape[1])))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of the exact McNemar test (McNemar, 1947, doi:10.1007/BF02295996): both are right equally often.

    Given how often exactly one of two is right, each should be the one in half of the cases.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, 1979, Scandinavian Journal of Statistics 6, 65-70), in the order given.

    The chance of even one false alarm among all of them stays below the level that the adjusted values are held against.
    """
    adjusted, worst = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = worst
    return adjusted
