"""What callers see of scoring jobs and sets, as OpenAPI describes it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.scoring.results import Scoring
from service.api.schemas import TimingMs, shown
from service.scoring.jobs import Job, Progress
from service.scoring.options import Options
from service.scoring.rows import Row


class Done(BaseModel):
    """How far something is: one for each image and backend."""

    done: int
    total: int


class ScoredBackend(BaseModel):
    """A backend as the job pinned it, and how far it is with it."""

    name: str
    kind: str
    version: str
    precision: str
    provider: str
    labels: list[str] = Field(description="In the order of its scores; of a remote backend known from its first answer on.")
    progress: Done
    failed: int = Field(description="Images that have an error instead of an answer.")
    accuracy: float | None = Field(description="Of the images answered so far; null without labels or answers.")
    images_per_second: float | None


class ScoredSet(BaseModel):
    """The set that a job is over."""

    name: str
    kind: Literal["folder", "zip", "annotations", "upload"]
    images: int = Field(description="That are scored.")
    of: int = Field(description="That the set has.")
    labelled: bool
    labels: list[str]


class ScoringInfo(BaseModel):
    """A scoring job."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    note: str | None = Field(description="What should be known of how it ended.")
    created: datetime
    began: datetime | None
    ended: datetime | None
    options: Options
    dataset: ScoredSet
    progress: Done
    backends: list[ScoredBackend]
    results: Scoring | None = Field(default=None, description="Once it has ended: figures, pairs, galleries, a verdict.")


class ScoringList(BaseModel):
    """Jobs, newest first, without their results."""

    scorings: list[ScoringInfo]
    next: str | None = Field(description="To be sent as `before` for the next page; null on the last one.")


class DatasetInfo(BaseModel):
    """A set that can be scored by its name."""

    name: str
    kind: Literal["folder", "zip", "annotations", "upload"]
    bytes: int | None = Field(description="Null for a folder.")
    expires: datetime | None = Field(description="When an uploaded set is deleted unless it is used before.")


class DatasetList(BaseModel):
    """Sets in the folder of sets, and uploaded ones."""

    datasets: list[DatasetInfo]


class RowInfo(BaseModel):
    """A line of `/predictions`."""

    image: str
    backend: str
    version: str
    precision: str
    label: str | None
    predicted: str | None
    probability: float | None
    timing_ms: TimingMs | None
    error: str | None
    detail: str | None


def described(job: Job, results: Scoring | None = None) -> dict[str, Any]:
    """A `ScoringInfo` as JSON has it."""
    info: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "note": job.note,
        "created": moment(job.created),
        "began": moment(job.began),
        "ended": moment(job.ended),
        "options": job.options.model_dump(),
        "dataset": {name: job.dataset[name] for name in ScoredSet.model_fields},
        "progress": {"done": job.done, "total": job.total},
        "backends": [backend(one, labelled=bool(job.dataset["labelled"])) for one in job.backends],
    }
    return info if results is None else info | {"results": results.model_dump(mode="json")}


def backend(progress: Progress, *, labelled: bool) -> dict[str, Any]:
    """A `ScoredBackend`."""
    answered = progress.done - progress.failed
    pinned = asdict(progress.pinned) | {"labels": list(progress.pinned.labels)}
    return pinned | {
        "progress": {"done": progress.done, "total": progress.total},
        "failed": progress.failed,
        "accuracy": progress.correct / answered if labelled and answered else None,
        "images_per_second": answered / progress.seconds if progress.seconds else None,
    }


def row_info(row: Row) -> dict[str, Any]:
    """A `RowInfo`."""
    times = {"queue": row.queue_ms, "decode": row.decode_ms, "infer": row.infer_ms, "total": row.total_ms}
    return {
        "image": row.image,
        "backend": row.backend,
        "version": row.version,
        "precision": row.precision,
        "label": row.label,
        "predicted": row.predicted,
        "probability": None if row.probability is None else shown(row.probability),
        "timing_ms": None if row.total_ms is None else {name: round(one or 0.0, 3) for name, one in times.items()},
        "error": row.error,
        "detail": row.detail,
    }


def moment(seconds: float | None) -> str | None:
    """As ISO 8601 has it, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
