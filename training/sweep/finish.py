"""What becomes of a study's winner: it is fine-tuned, if that helps, and put into the store as any trained model."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError
from models.repository import Repository
from models.sweep_facts import SweepFacts
from training import transfer, workflow
from training.automl_recipe import AutomlRecipe
from training.data import TrainingSet
from training.progress import console
from training.recipe import DistillSettings
from training.runs import Run, RunRecord
from training.sweep.candidate import strengthened
from training.sweep.job import Sweep
from training.sweep.leaderboard import Leaderboard, Row
from training.tracking.tracker import Tracker
from training.workflow import Learnt

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Ending:
    """How a sweep is to end."""

    name: str
    """In the store."""
    fine_tune_minutes: float
    """0: the winner stays frozen."""
    mirrored: bool
    usd_per_hour: float
    distill: DistillSettings | None = None
    """From whom the winner learns as it is fine-tuned; the trials before have learnt from labels alone."""


def winner_of(board: Leaderboard) -> Row:
    """The first that was not ended early. Raises `UsageError` if there is none."""
    if not board.rows or board.rows[0].ended_early:
        raise UsageError(f"no trial of {board.study} came to its end: give it more time, with --resume")
    return board.rows[0]


def recipe(sweep: Sweep, board: Leaderboard, ending: Ending) -> AutomlRecipe:
    """How the winner is trained."""
    row, space = winner_of(board), sweep.space
    settings = row.settings
    return AutomlRecipe(
        backend=ending.name,
        backbone=settings.model_name,
        weights=space.weights,
        height=settings.image_size,
        width=settings.image_size,
        mirrored=ending.mirrored,
        distill=ending.distill,
        augmentation=strengthened(space.augmentation, settings.augmentation_strength),
        head=settings.head,
        fine_tune=settings.fine_tune(space.fine_tune) if ending.fine_tune_minutes else None,
        sweep=SweepFacts(
            study=sweep.name,
            trials=board.trials,
            ended_early=sum(one.ended_early for one in board.rows),
            sampling=space.sampling,
            early_termination=space.early_termination.type,
            winner=row.trial,
        ),
    )


def finish(
    sweep: Sweep,
    board: Leaderboard,
    trials: list["FrozenTrial"],
    ending: Ending,
    store: Repository,
    runs: Path,
    tracker: Tracker | None = None,
) -> Path:
    """Train the winner and put it into the store. Returns the folder of the version.

    A run for the same winner that was cut short is gone on with.
    """
    record = RunRecord(
        name=ending.name,
        recipe=recipe(sweep, board, ending),
        sources=sweep.sources.data,
        excluded=sweep.sources.excluded,
        left_out=sweep.sources.left_out,
        seed=sweep.seed,
        usd_per_hour=ending.usd_per_hour,
    )
    run = _unfinished(runs, record) or Run.create(runs, record)
    console.print(f"run: {run.folder}", highlight=False)
    row = winner_of(board)
    learnt_head = sweep.folder / "trials" / str(row.trial)
    if learnt_head.exists():  # else another machine has it, and it is learnt again, in seconds
        shutil.copytree(learnt_head, run.stage("head").folder, dirs_exist_ok=True)
    spent = sweep.features.seconds() + sum(
        trial.user_attrs["result"]["machine_seconds"] for trial in trials if "result" in trial.user_attrs
    )

    def learn(run: Run, record: RunRecord, data: TrainingSet) -> Learnt:
        with console.status("features") as status:  # which are here already, unless the trial was had on another machine
            rows = replace(sweep.features.of(row.settings, status.update).cached, seconds=0.0)
        learnt = transfer.learn(run, record, data, sweep.max_cache_bytes, features=rows, minutes=ending.fine_tune_minutes)
        head = run.stage("head").seconds  # which is one of the trials
        return replace(learnt, seconds=learnt.seconds - head + spent)

    return workflow.train(run, store, learn, skip_unreadable=sweep.sources.skip_unreadable, tracker=tracker)


def _unfinished(runs: Path, record: RunRecord) -> Run | None:
    try:
        run = Run.newest(runs, record.name)
    except UsageError:
        return None
    return run if run.read().recipe == record.recipe else None
