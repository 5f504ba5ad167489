"""What a job notes of one image and one backend."""

from typing import NamedTuple

from service.domain import Scores


class Row(NamedTuple):
    """Exactly one for each image and backend of a job. Times in milliseconds."""

    image: str
    """Path in the data set, `sea/20072.jpg`, or the address of an annotation; unique in the job."""
    label: str | None
    """What it shows, in the backend's words; None in a set without labels."""
    backend: str
    version: str
    precision: str
    predicted: str | None
    """The most probable label; None if there is an error."""
    probability: float | None
    """Of `predicted`."""
    scores: Scores | None
    """float32 [classes], in the order of the backend's labels as the job pinned them (`Identity.labels`)."""
    queue_ms: float | None
    decode_ms: float | None
    infer_ms: float | None
    total_ms: float | None
    """None for all four if there is an error: an image that has no answer has no latency."""
    error: str | None
    """Code of the problem (`invalid-image`, `backend-failed`, ...), as /v1/classify would have answered."""
    detail: str | None = None
    """What the problem says in words."""


class Chosen(NamedTuple):
    """Which of a job's rows are wanted: those that are as every field that is not None says."""

    backend: str | None = None
    label: str | None = None
    predicted: str | None = None


ALL = Chosen()
