"""The values that travel through the service."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float32]
"""Of one image: float32 [classes], in the order of the model's labels."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that one request spent in each stage. `queue` is all waiting: for a decoding thread and for a lane."""

    queue: float
    decode: float
    infer: float
    total: float


@dataclass(frozen=True, slots=True)
class RankedLabel:
    """One class with its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model answers, and on what."""

    name: str
    kind: str
    version: str
    precision: str
    provider: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a backend says of one image, most probable first."""

    backend: Identity
    ranked: tuple[RankedLabel, ...]
    timings: Timings


def rank(scores: Scores, labels: tuple[str, ...], top: int) -> tuple[RankedLabel, ...]:
    """The `top` most probable labels, ties in the order of the labels."""
    order = np.argsort(-scores, kind="stable")[:top]
    return tuple(RankedLabel(labels[index], float(scores[index])) for index in order)
