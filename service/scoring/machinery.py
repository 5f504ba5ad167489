"""What every scoring run uses of the service."""

from collections.abc import Callable
from dataclasses import dataclass

from models.imaging import Limits
from service.pipeline import Pipeline
from service.registry import Registry
from service.scoring.summary import Summary
from service.watcher import Watcher


@dataclass(frozen=True)
class Machinery:
    """The ways in and out."""

    pipeline: Pipeline
    registry: Registry
    watcher: Watcher
    code_of: Callable[[Exception], str]
    """Of a problem, as requests are told it."""
    summary: Summary
    """Judges a job by its rows, and says what is to be noted of it for that."""
    limits: Limits
    """Of one image, as for requests."""
