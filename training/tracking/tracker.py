"""Follows a training run and tells MLflow. What the server does or doesn't do never stops a training, nor loses its model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.markup import escape

from models.errors import ParallaxError, UsageError
from models.repository import StoredModel
from training.data import TrainingSet
from training.progress import console
from training.runs import Run, Stage
from training.tracking.journal import Journal, Status
from training.tracking.server import TrackingError, look, mapped, shown, tracking_uri
from training.tracking.telling import epochs, origin, result

SWITCH = "PARALLAX_TRACK"


class Tracker:
    """Follows a run without telling anybody."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def begin(self, run: Run, data: TrainingSet) -> None:
        """The images are there, and learning begins, or goes on."""

    def finish(self, stored: StoredModel) -> None:
        """The model is in the store."""


class MlflowTracker(Tracker):
    """Follows a run in MLflow: all its epochs, each once, however often it is cut short; then its model."""

    def __init__(self, experiment: str | None = None) -> None:
        """See `Journal.open`. Nothing is loaded or asked before the run begins."""
        self._experiment = experiment
        self._journal: Journal | None = None
        self._run: Run | None = None
        self._lost = False

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if exc is not None and self._journal and not self._lost:
            status: Status = "FAILED" if isinstance(exc, Exception) else "KILLED"
            with self._bearing():
                self._journal.end(status)

    def begin(self, run: Run, data: TrainingSet) -> None:
        self._run = run
        with self._bearing():
            self._journal = self._open(run)
            self._journal.describe(*origin(run.read(), data.data, data.excluded))
            for stage in run.stages():
                epochs(self._journal, stage)
        run.watchers.append(self._epoch)

    def _epoch(self, stage: Stage) -> None:
        if self._journal and not self._lost:
            with self._bearing():
                epochs(self._journal, stage, newest_only=True)

    def finish(self, stored: StoredModel) -> None:
        """Send what is missing, and the model. If that fails, say how to try again."""
        name = f"{stored.card.name}/{stored.card.version}"
        try:
            with mapped("it can't be tracked"):
                if self._run is None:
                    raise TrackingError("the run was never begun")
                journal = self._journal if self._journal and not self._lost else self._open(self._run)
                version = result(journal, stored, self._run)
        except ParallaxError as exc:
            console.print(
                f"[yellow]{name} is in the store, but not tracked[/]: {escape(str(exc))}. "
                f"When {shown(tracking_uri())} answers again: parallax models push {name}"
                + (f" --experiment {self._experiment}" if self._experiment else ""),
                highlight=False,
            )
        else:
            console.print(f"tracked and registered as models:/{stored.card.name}/{version}", highlight=False)
            console.print(f"to see it: {look(tracking_uri())}", highlight=False, soft_wrap=True)

    def _open(self, run: Run) -> Journal:
        journal = Journal.open(run.folder.name, experiment=self._experiment, run_id=run.read().mlflow_run)
        run.note(mlflow_run=journal.run_id)
        return journal

    @contextmanager
    def _bearing(self) -> Iterator[None]:
        """Tell of a failure once, and leave the server alone until the run has ended."""
        try:
            with mapped("the run can't be tracked"):
                yield
        except ParallaxError as exc:
            self._lost = True
            console.print(
                f"[yellow]tracking has failed[/]: {escape(str(exc))}. The training goes on; what is missing is sent at its end.",
                highlight=False,
            )


def tracker_for(track: bool | None, experiment: str | None) -> Tracker:
    """What the command line asks for: `track`, else `PARALLAX_TRACK` (on, off), else on. Raises `UsageError`."""
    if track is None:
        word = os.environ.get(SWITCH, "").strip().lower() or "on"
        if word not in {"on", "off"}:
            raise UsageError(f"{SWITCH} is {word!r}; it is on or off")
        track = word == "on"
    return MlflowTracker(experiment) if track else Tracker()
