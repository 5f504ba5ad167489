"""What a published iteration said of each image, kept line by line, and what it comes to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from models import statistics
from models.errors import UsageError
from models.metadata import Accuracy
from training.customvision.journal import Journal

PERCENTILES = (50, 90, 95, 99)


class Subject(BaseModel):
    """What is scored with what; the first line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    project: str
    published_name: str
    data: list[str]
    """Digests of the sets."""


class Answer(BaseModel):
    """One image's; probabilities are those of its tags, highest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    label: str
    predicted: str
    probabilities: dict[str, float]
    iteration: str
    latency_ms: float
    """Of the call that was answered, without any wait for a turn."""

    @property
    def right(self) -> bool:
        """Whether the tag with the highest probability is the label."""
        return self.predicted == self.label


class Tally(BaseModel):
    """What the answers come to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject
    iteration: str
    accuracy: Accuracy
    labels: list[str]
    confusion: list[list[int]]
    """`confusion[i][j]` counts images of class i that were named j."""
    latency_ms: dict[str, float]
    images: int
    not_scored: int
    usd_per_1000: float | None
    usd: float | None
    """Of these images once; calls that failed are not in it."""


def load(journal: Journal, subject: Subject) -> dict[str, Answer]:
    """Answers that are there, by path. Raises `UsageError` if the file is about something else."""
    records = iter(journal.records())
    first = next(records, None)
    if first is None:
        return {}
    try:
        if Subject.model_validate(first) != subject:
            raise UsageError(f"{journal.path} holds answers about other images or from another model: choose another --out")
        answers = [Answer.model_validate(record) for record in records]
    except ValidationError as exc:
        raise UsageError(f"{journal.path} holds something else than answers: choose another --out") from exc
    return {answer.path: answer for answer in answers}


def tally(subject: Subject, answers: Sequence[Answer], not_scored: int, usd_per_1000: float | None) -> Tally:
    """Raises `UsageError` if there is nothing to count, or the published iteration changed on the way."""
    if not answers:
        raise UsageError("no image was scored")
    made_by = {answer.iteration for answer in answers}
    if len(made_by) > 1:
        raise UsageError(
            f"what is published as {subject.published_name} changed on the way ({', '.join(sorted(made_by))}): "
            "these are answers of two models. Begin anew with another --out"
        )
    labels = sorted({answer.label for answer in answers} | {tag for answer in answers for tag in answer.probabilities})
    number = {label: place for place, label in enumerate(labels)}
    targets = np.array([number[answer.label] for answer in answers], np.int64)
    predicted = np.array([number[answer.predicted] for answer in answers], np.int64)
    found = statistics.report(targets, predicted, labels)
    times = np.percentile([answer.latency_ms for answer in answers], PERCENTILES)
    return Tally(
        subject=subject,
        iteration=made_by.pop(),
        accuracy=found.accuracy,
        labels=labels,
        confusion=found.confusion,
        latency_ms={f"p{place}": round(float(time), 2) for place, time in zip(PERCENTILES, times, strict=True)},
        images=len(answers),
        not_scored=not_scored,
        usd_per_1000=usd_per_1000,
        usd=None if usd_per_1000 is None else len(answers) / 1000 * usd_per_1000,
    )


def report(result: Tally) -> statistics.Report:
    """As the tables for a terminal take it."""
    matrix = np.array(result.confusion)
    targets, predicted = (np.repeat(axis.ravel(), matrix.ravel()) for axis in np.indices(matrix.shape))
    return statistics.report(targets, predicted, result.labels)


def answer_of(path: str, label: str, reply: Any, latency_s: float) -> Answer:  # noqa: ANN401  # of the SDK
    """Raises `UsageError` for a reply without predictions."""
    found: Mapping[str, float] = {one.tag_name: float(one.probability) for one in reply.predictions or []}
    if not found or not np.isfinite(list(found.values())).all():
        raise UsageError(f"{path}: the service answered without probabilities")
    ranked = dict(sorted(found.items(), key=lambda pair: -pair[1]))
    return Answer(
        path=path,
        label=label,
        predicted=next(iter(ranked)),
        probabilities=ranked,
        iteration=str(reply.iteration or ""),
        latency_ms=round(latency_s * 1000, 3),
    )


def default_file(folder: Path, subject: Subject) -> Path:
    """Where answers about this go unless told otherwise."""
    name = "".join(character if character.isalnum() or character in "-_." else "_" for character in subject.published_name)
    return folder / subject.project / f"{name}-{subject.data[0][:12]}.jsonl"
