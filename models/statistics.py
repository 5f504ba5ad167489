"""How well a classifier does, and how sure of that one may be. Thin over scipy and scikit-learn, which load on first use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.metadata import Accuracy


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
