"""How good a backend's answers are. Definitions and their sources: docs/measures.md."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models import statistics
from models.scoring.results import Bin, Calibration, ClassFigures, Quality, TopK
from models.scoring.rows import Answer

TOP = (2, 3, 5)
"""The k of top-k, where there are more labels than that."""
BINS = 15
SMALLEST = float(np.finfo(np.float32).eps)
"""What a score of 0 counts as in log loss: the step of the scores' own type near 1, as scikit-learn has it."""


def quality(answers: Iterable[Answer], own: Sequence[str], labels: Sequence[str]) -> Quality | None:
    """Judge what can be judged: answers to labelled images. None if there are none.

    `own`: the backend's labels in the order of its scores; `labels`: all of the set, its own among them.
    """
    judged = [answer for answer in answers if answer.judged]
    if not judged:
        return None
    number = {label: index for index, label in enumerate(labels)}
    targets = np.array([number[str(answer.label)] for answer in judged])
    named = np.array([number[str(answer.predicted)] for answer in judged])
    report = statistics.report(targets, named, labels)
    classes = tuple(_defined(row, sum(column)) for row, column in zip(report.classes, zip(*report.confusion, strict=True), strict=True))
    scores = _scores(judged, own, labels)
    return Quality(
        accuracy=report.accuracy,
        top=() if scores is None else top(scores, targets, [k for k in TOP if k < len(own)]),
        macro_f1=statistics.macro_f1(targets, named),
        classes=classes,
        confusion=tuple(map(tuple, report.confusion)),
        log_loss=None if scores is None else statistics.log_loss(targets, scores, SMALLEST),
        calibration=calibration(
            np.array([answer.probability for answer in judged]), np.array([answer.right for answer in judged]), BINS
        ),
    )


def top(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], ks: Sequence[int]) -> tuple[TopK, ...]:
    """How often the label [N] is among the k best of scores [N, classes]; of equal scores, the first label's is better, as served."""
    of_label = np.take_along_axis(scores, targets[:, None], axis=1)
    before = np.arange(scores.shape[1]) < targets[:, None]
    rank = (scores > of_label).sum(axis=1) + ((scores == of_label) & before).sum(axis=1)
    return tuple(TopK(k=k, accuracy=statistics.accuracy(int((rank < k).sum()), len(targets))) for k in ks)


def calibration(probability: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int) -> Calibration:
    """Hold the probabilities [N] of the named labels against how often they are right [N].

    The expected calibration error over bins of equal width: the mean distance of probability and accuracy in a bin, weighted with the
    bin's images. C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
    arXiv:1706.04599, equation 3, with their 15 bins.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(probability, edges) - 1, 0, bins - 1)
    found = tuple(
        Bin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            probability=float(probability[place == index].mean()),
            accuracy=statistics.accuracy(int(right[place == index].sum()), int((place == index).sum())),
        )
        for index in np.unique(place)
    )
    error = sum(abs(one.probability - one.accuracy.value) * one.accuracy.images for one in found) / len(right)
    return Calibration(error=error, overconfidence=float(probability.mean() - right.mean()), bins=found)


def _defined(row: statistics.ClassScore, named: int) -> ClassFigures:
    return ClassFigures(
        label=row.label,
        images=row.images,
        precision=row.precision if named else None,
        recall=row.recall if row.images else None,
        f1=row.f1 if row.images else None,
    )


def _scores(judged: Sequence[Answer], own: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.float64] | None:
    """All scores [N, labels], 0 for labels that the backend does not know; None if one answer came without them."""
    told = [answer.scores for answer in judged if answer.scores is not None]
    if len(told) < len(judged):
        return None
    scores = np.zeros((len(judged), len(labels)))
    for column, label in zip(np.stack(told).T, own, strict=True):
        scores[:, labels.index(label)] += column  # two labels of the backend may stand for one class of the set
    return scores
