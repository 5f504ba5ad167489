"""`parallax train automl`."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from models import prices
from models.errors import UsageError
from models.machine import usable_cpus
from models.repository import Repository
from models.sources import local
from models.workspace import data_dir, models_dir
from training.azureml.elsewhere import HereOrOnAzure
from training.cli import (
    Data,
    DistillWeight,
    Exclude,
    Experiment,
    LeaveOut,
    Mirrored,
    Seed,
    SkipUnreadable,
    Store,
    Teacher,
    Track,
    UsdPerHour,
    _checked,
)


def automl(
    data: Data,
    exclude: Exclude = [],  # noqa: B006  # typer's way of saying "none unless given"
    leave_out: LeaveOut = [],  # noqa: B006
    space: Annotated[
        str | None, typer.Option(help="What to try: a TOML file as training/configs/spaces/automl.toml. [default: automl]")
    ] = None,
    max_trials: Annotated[int, typer.Option(min=1, help="Trials of the study, over all commands that work on it.")] = 20,
    timeout_minutes: Annotated[
        float | None, typer.Option(min=0, help="No trial begins after so many minutes. [default: no limit]")
    ] = None,
    concurrent: Annotated[int, typer.Option(min=1, help="Worker processes of this command; they share the cores.")] = 1,
    study: Annotated[
        str | None,
        typer.Option(help="Name of the study. [default: NAME and the time; with --resume the newest of that name]"),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the study is kept: postgresql://USER:PASSWORD@HOST/DATABASE to share it between machines. Best given as "
            "a variable, which no list of processes shows. [default: SQLite in the study's folder]",
            envvar="PARALLAX_STUDY_STORAGE",
            show_default=False,
        ),
    ] = None,
    worker: Annotated[
        bool, typer.Option("--worker", help="Run trials of --study only; another command, without this, finishes it.")
    ] = False,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune/--no-fine-tune", help="Let the top of the winner's backbone learn on.")
    ] = True,
    fine_tune_minutes: Annotated[float, typer.Option(min=1, help="That fine-tuning may take, at most.")] = 90.0,
    max_cache_gb: Annotated[float, typer.Option(min=0, help="Disk that cached features or activations may take, in GB.")] = 20.0,
    name: Annotated[str, typer.Option(help="Name in the store.")] = "automl",
    mirrored: Mirrored = None,
    teacher: Teacher = None,
    distill_weight: DistillWeight = None,
    seed: Seed = 1,
    skip_unreadable: SkipUnreadable = False,
    usd_per_hour: UsdPerHour = None,
    resume: Annotated[bool, typer.Option(help="Go on with a study that was begun before, perhaps with more trials.")] = False,
    track: Track = None,
    experiment: Experiment = None,
    store: Store = None,
) -> None:
    """Search for the best way to a classifier, and put what comes out first into the store.

    Trials try backbones, sizes, heads and how they learn, as the space allows. Frozen backbones run once, and all trials learn
    from what they gave, so a trial takes seconds. The best by validation accuracy is then fine-tuned, once; with --teacher it
    learns from a model of the store, too, while it is.

    Several commands can work on one study, on one machine or many: one plain command, which finishes it, and any number with
    --worker and the same options. A worker that is killed loses nothing: its trial is had again. Ctrl-C ends the search and
    goes on with what was found. With --on azureml, Azure's own AutoML searches instead, and only --data, --exclude, --leave-out
    and --name mean the same.
    """
    from training.recipe import settings_of_teacher
    from training.sweep.automl import join, train
    from training.sweep.finish import Ending
    from training.sweep.images import Sources
    from training.sweep.job import Sweep
    from training.sweep.space import load_space
    from training.sweep.storage import sqlite
    from training.tracking.tracker import tracker_for

    name = _checked(name)
    if teacher and not fine_tune:
        raise UsageError("--teacher teaches while the winner is fine-tuned: it can't go with --no-fine-tune")
    tracker = tracker_for(track, experiment)
    sweeps = data_dir() / "sweeps"
    if worker and study is None:
        raise UsageError("--worker needs --study, the study that it is to work on")
    study = study or (_newest(sweeps, name) if resume else f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    folder = sweeps / _checked(study)
    folder.mkdir(parents=True, exist_ok=True)
    sweep = Sweep(
        name=study,
        storage=storage or sqlite(folder),
        folder=folder,
        space=load_space(space),
        sources=Sources(local(data), local(exclude), list(leave_out), skip_unreadable),
        seed=seed,
        slots=max_trials,
        max_cache_bytes=round(max_cache_gb * 1e9),
    )
    limit = math.inf if timeout_minutes is None else timeout_minutes
    if worker:
        join(sweep, concurrent=concurrent, timeout_minutes=limit)
        return
    ending = Ending(
        name=name,
        fine_tune_minutes=fine_tune_minutes if fine_tune else 0.0,
        mirrored=bool(mirrored),
        usd_per_hour=prices.usd_per_hour(usable_cpus()) if usd_per_hour is None else usd_per_hour,
        distill=settings_of_teacher(teacher, distill_weight),
    )
    typer.echo(f"study: {folder}", err=True)
    version = train(
        sweep,
        ending,
        Repository(store or models_dir()),
        data_dir() / "runs",
        concurrent=concurrent,
        timeout_minutes=limit,
        resume=resume,
        tracker=tracker,
    )
    typer.echo(f"{version}")


def mount(app: typer.Typer) -> None:
    """Add the command to the group `train`."""
    app.command(cls=HereOrOnAzure)(automl)


def _newest(sweeps: Path, name: str) -> str:
    """The study of a model's name that was begun last on this machine. Raises `UsageError`."""
    names = sorted(folder.name for folder in sweeps.glob(f"{name}-[0-9]*-[0-9]*"))
    if not names:
        raise UsageError(f"no study of {name!r} under {sweeps} to resume; name it with --study")
    return names[-1]
