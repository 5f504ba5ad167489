"""`parallax models push`: tells MLflow of a version of the store, with the run that made it if its folder is still there."""

from pathlib import Path

from models.errors import UsageError
from models.metadata import TrainingFacts
from models.repository import StoredModel
from training.runs import Run
from training.tracking.journal import Journal
from training.tracking.registry import registered
from training.tracking.server import connect
from training.tracking.telling import result


def push(stored: StoredModel, runs: Path, *, experiment: str | None = None) -> str:
    """Track and register a version; what MLflow knows already stays as it is. Returns the number of the registered version.

    `runs`: the folder of the runs' folders. Raises `BrokenModel`, `TrackingError`.
    """
    stored.verify()
    card = stored.card
    run = run_of(card.name, card.training, runs) if card.training else None
    if run is None and (known := registered(connect(), stored)) is not None:
        return known
    known = run.read().mlflow_run if run else None
    journal = Journal.open(run.folder.name if run else f"{card.name}-{card.version}", experiment=experiment, run_id=known)
    if run:
        run.note(mlflow_run=journal.run_id)
    return result(journal, stored, run)


def run_of(name: str, facts: TrainingFacts, runs: Path) -> Run | None:
    """The run that ended with these facts, if its folder is still there."""
    for folder in sorted(runs.glob(f"{name}-*"), reverse=True):
        try:
            if Run(folder).read().facts == facts:
                return Run(folder)
        except UsageError:
            continue
    return None
