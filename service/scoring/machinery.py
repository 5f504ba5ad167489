"""What every scoring run uses of the service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from models.imaging import Limits
from service.domain import Identity
from service.pipeline import Pipeline
from service.registry import Registry
from service.running import Running
from service.scoring.jobs import Job, Task
from service.scoring.ledger import Ledger
from service.scoring.pictures import Draw
from service.scoring.summary import Summary
from service.watcher import Watcher


class Work(Protocol):
    """A backend's part of a job."""

    async def run(self, tasks: Sequence[Task]) -> None:
        """Make the rows of these images."""
        ...


Elsewhere: TypeAlias = Callable[[Job, Identity, Running, Ledger], Work]
"""Gives a backend's part of a job to other machines. `Running` is the backend as it is loaded here."""


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
    draw: Draw
    """Makes a report."""
    elsewhere: Elsewhere | None = None
    """Who scores the images instead of this process."""
