"""What was asked for on the command line, and what an engine that does it has to offer."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from models.scoring.results import Scoring
from service.api.scoring_rows import FormName
from service.score.board import Board
from service.scoring.options import Options


@dataclass(frozen=True)
class Asked:
    """The command's arguments, but for what is to be written afterwards."""

    dataset: str
    """As it was typed."""
    options: Options
    """Without `dataset`."""
    models_dir: Path | None = None
    fresh: bool = False
    """Begin anew, whatever is left of an earlier run."""
    address: str | None = None
    """Of the Ray cluster; None: one of this machine alone."""
    server: str | None = None
    on_server: bool = False
    """`dataset` is the server's name of a set."""


class Outcome(Protocol):
    """A run that has ended. Valid as long as its engine is open."""

    @property
    def info(self) -> dict[str, Any]:
        """As `GET /v1/scorings/{id}` says it, with the results."""
        ...

    @property
    def result(self) -> Scoring | None:
        """None if there is no row."""
        ...

    def report(self) -> AsyncIterator[bytes]:
        """One HTML file."""
        ...

    def predictions(self, form: FormName) -> AsyncIterator[bytes]:
        """Every row. Raises `FormatUnavailable`."""
        ...


Engine: TypeAlias = Callable[[Asked, Board], AbstractAsyncContextManager[Outcome]]
"""Does what was asked for to its end, telling the board. Cancelled, as by Ctrl-C, it says there what becomes of the run."""
