"""The values that travel through the service."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float32]
"""Of one image: float32 [classes], in the order of the model's labels."""


class Inferred(NamedTuple):
    """What became of one image in a backend: its scores, and the seconds that its decoding and its batch took there."""

    scores: Scores
    decode: float
    infer: float
    decoded_at: float = 0.0
    """When its decoding ended, by `time.perf_counter`."""
    inferred_at: float = 0.0
    """When its batch did."""
    batch: int = 1
    """Images that were inferred together."""
    ahead: bool = False
    """Whether it was decoded before it waited for its turn, and not by its lane."""


class Timings(NamedTuple):
    """Seconds that one request spent in each stage. `queue` is all waiting: for its turn, and for threads to wake up."""

    queue: float
    decode: float
    infer: float
    total: float


class RankedLabel(NamedTuple):
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


Release: TypeAlias = Literal["idle", "busy", "full", "timer"]
"""Why a batch started: a place was idle, a place became free, it was full, or `max_wait` ran out."""


class Sizes(NamedTuple):
    """Of batches, and how many there are side by side."""

    urgent: int
    """Items of a batch at most."""
    in_flight: int
    """Batches side by side."""
    background: int
    """Items of a batch of background work where nobody else is there."""
    beside_urgent: int
    """The same where urgent work is expected, which then waits for it."""

    @classmethod
    def alike(cls, size: int, in_flight: int) -> "Sizes":
        """The same size for every batch."""
        return cls(size, in_flight, size, size)


class Batch(NamedTuple):
    """What is told of every batch when it ends. Times in seconds."""

    size: int
    release: Release
    longest_wait: float
    ran: float
    failed: bool


class Prediction(NamedTuple):
    """What a backend says of one image, most probable first."""

    backend: Identity
    ranked: tuple[RankedLabel, ...]
    timings: Timings
    scores: Scores
    """Of all labels."""


def rank(scores: Scores, labels: tuple[str, ...], top: int) -> tuple[RankedLabel, ...]:
    """The `top` most probable labels, ties in the order of the labels."""
    values = scores.tolist()
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)  # stable: ties keep their order
    return tuple([RankedLabel(labels[index], values[index]) for index in order[:top]])
