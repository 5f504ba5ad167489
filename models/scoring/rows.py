"""What measuring reads: one row for each image and backend, and what is known of the backends and of the run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.scoring.facts import BackendFacts


class Row(Protocol):
    """One image as one backend answered it. Times in milliseconds; all are None where there is an `error`."""

    @property
    def image(self) -> str: ...  # noqa: D102  # path in the data set, unique in the run
    @property
    def label(self) -> str | None: ...  # noqa: D102  # what it shows, in the backend's words; None: nobody knows
    @property
    def backend(self) -> str: ...
    @property
    def predicted(self) -> str | None: ...
    @property
    def probability(self) -> float | None: ...  # noqa: D102  # of `predicted`
    @property
    def scores(self) -> npt.NDArray[np.float32] | None: ...  # noqa: D102  # [classes], in the order of the backend's labels
    @property
    def queue_ms(self) -> float | None: ...
    @property
    def decode_ms(self) -> float | None: ...
    @property
    def infer_ms(self) -> float | None: ...
    @property
    def total_ms(self) -> float | None: ...
    @property
    def error(self) -> str | None: ...  # noqa: D102  # code of the problem


@dataclass(frozen=True, slots=True)
class Answer:
    """A row in the data set's own words, so that backends with different words can be compared."""

    image: str
    label: str | None
    predicted: str | None
    probability: float
    scores: npt.NDArray[np.float32] | None
    times: tuple[float | None, float | None, float | None, float | None]
    """Of the whole, queue, decode, infer."""
    error: str | None

    @property
    def judged(self) -> bool:
        """Whether it can be right or wrong."""
        return self.label is not None and self.predicted is not None

    @property
    def right(self) -> bool:
        """Whether it is what the label says."""
        return self.judged and self.predicted == self.label

    def probability_of(self, label: str, labels: Sequence[str]) -> float | None:
        """What the backend gave to a label; None if it didn't tell."""
        if label == self.predicted:
            return self.probability
        if self.scores is None:
            return None
        return float(sum(score for score, name in zip(self.scores, labels, strict=True) if name == label))


def by_backend(rows: Iterable[Row], backends: Sequence[BackendFacts]) -> dict[str, dict[str, Answer]]:
    """Answers by backend, in the order of `backends`, and by image, in the order of their paths.

    Raises `ValueError` if an image stands twice for a backend, or a row is of a backend that is not named: whoever counted is wrong.
    """
    facts = {backend.name: backend for backend in backends}
    answers: dict[str, dict[str, Answer]] = {name: {} for name in facts}
    for row in rows:
        if row.backend not in facts:
            raise ValueError(f"a row of {row.backend}, which is none of {', '.join(facts)}")
        known = answers[row.backend]
        if row.image in known:
            raise ValueError(f"{row.image} stands twice for {row.backend}")
        known[row.image] = _answer(row, facts[row.backend].words)
    return {name: dict(sorted(known.items())) for name, known in answers.items()}


def _answer(row: Row, words: Mapping[str, str]) -> Answer:
    failed = row.error is not None
    predicted = None if failed or row.predicted is None else words.get(row.predicted, row.predicted)
    return Answer(
        image=row.image,
        label=None if row.label is None else words.get(row.label, row.label),
        predicted=predicted,
        probability=row.probability or 0.0,
        scores=None if failed else row.scores,
        times=(row.total_ms, row.queue_ms, row.decode_ms, row.infer_ms),
        error=row.error,
    )
