"""What every scoring run uses of the service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.imaging import Limits
from models.scoring.results import Scoring
from service.pipeline import Pipeline
from service.registry import Registry
from service.scoring.jobs import Job
from service.scoring.rows import Row
from service.watcher import Watcher


@dataclass(frozen=True)
class Machinery:
    """The ways in and out."""

    pipeline: Pipeline
    registry: Registry
    watcher: Watcher
    code_of: Callable[[Exception], str]
    """Of a problem, as requests are told it."""
    summary: Callable[[Job, Sequence[Row]], Scoring]
    """Judges a job by its rows. Blocks."""
    limits: Limits
    """Of one image, as for requests."""
