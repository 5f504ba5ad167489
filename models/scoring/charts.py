"""The figures of a report's charts, as its script draws them. Names are escaped: Plotly reads some HTML in texts."""

import html
from collections.abc import Sequence
from typing import Any

from models.metadata import Accuracy
from models.scoring.results import BackendResult, Percentiles, Scoring

LONGEST = 28
"""Characters of a name in a legend, which has no room for more."""

FEWEST = 10
"""Answers that a point of a calibration curve needs: with fewer it shows chance alone."""


def charts(result: Scoring) -> dict[str, Any]:
    """One entry a chart; empty lists where nothing is to be drawn. Accuracies in per cent, times in ms."""
    judged = [(number, one) for number, one in enumerate(result.backends) if one.quality]
    return {
        "latency": [{**_judged(number, one), **_times(one.latency.total)} for number, one in judged if one.latency],
        "cost": [
            {**_judged(number, one), "x": one.cost.usd_per_1000} for number, one in judged if one.cost and one.cost.usd_per_1000
        ],
        "calibration": [_calibration(number, one) for number, one in judged],
        "distribution": [
            {**_of(number, one), "x": one.latency.quantiles_ms} for number, one in enumerate(result.backends) if one.latency
        ],
    }


def _of(number: int, one: BackendResult) -> dict[str, Any]:
    name = one.name if len(one.name) <= LONGEST else f"{one.name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    return {"name": html.escape(name, quote=False), "color": number}


def _judged(number: int, one: BackendResult) -> dict[str, Any]:
    assert one.quality  # noqa: S101  # the caller's filter
    return {**_of(number, one), **_accuracies([one.quality.accuracy])}


def _times(total: Percentiles) -> dict[str, float]:
    return {"x": total.p50, "right": total.p99}


def _calibration(number: int, one: BackendResult) -> dict[str, Any]:
    assert one.quality  # noqa: S101  # the caller's filter
    every = one.quality.calibration.bins
    bins = [one for one in every if one.accuracy.images >= FEWEST] or every
    return {
        **_of(number, one),
        **_accuracies([one.accuracy for one in bins]),
        "x": [one.probability * 100 for one in bins],
        "images": [one.accuracy.images for one in bins],
    }


def _accuracies(values: Sequence[Accuracy]) -> dict[str, list[float]]:
    return {
        name: [getattr(value, field) * 100 for value in values]
        for name, field in (("y", "value"), ("low", "low"), ("high", "high"))
    }
