"""`parallax train` and `parallax export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from models import prices
from models.cli_options import SeveralValues
from models.errors import UsageError
from models.machine import usable_cpus
from models.metadata import check_name
from models.repository import Repository
from models.sources import resolve
from models.workspace import data_dir, models_dir

train_app = typer.Typer(no_args_is_help=True, help="Train a classifier on class folders and put it into the store.")

Data = Annotated[
    list[str],
    typer.Option(
        help="Labelled images: a zip or a folder of class folders, an http(s) address of a zip, or kaggle:OWNER/NAME. "
        "Several in a row, or repeated; SOURCE#SPLIT where it holds several splits.",
        show_default=False,
    ),
]
Exclude = Annotated[list[str], typer.Option(help="Test sets: an image that stands in one of them is never trained on.")]
Store = Annotated[Path | None, typer.Option(help="Where models are kept [default: PARALLAX_MODELS_DIR or models/store].")]


@train_app.callback()
def train() -> None:
    """Train a classifier on class folders and put it into the store."""


@train_app.command(cls=SeveralValues)
def cnn(
    data: Data,
    exclude: Exclude = [],  # noqa: B006  # typer's way of saying "none unless given"
    leave_out: Annotated[list[str], typer.Option(help="CLASS/FILE to leave out of training, as in sea/1.jpg.")] = [],  # noqa: B006
    network: Annotated[Literal["cnn", "residual"], typer.Option(help="cnn: the article's; residual: a better one.")] = "cnn",
    name: Annotated[str | None, typer.Option(help="Name in the store [default: cnn or cnn_residual].")] = None,
    config: Annotated[Path | None, typer.Option(help="A recipe of your own, as training/configs/*.toml.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="For order, augmentation and initial weights.")] = 1,
    skip_unreadable: Annotated[bool, typer.Option(help="Go on without images that can't be decoded.")] = False,
    usd_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of this machine [default: its cores by models/prices.toml].")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the newest unfinished run of this name.")] = False,
    store: Store = None,
) -> None:
    """Train a convolutional network from scratch.

    Ctrl-C keeps the best epoch so far and exports it; a run that was killed goes on with --resume.
    """
    from training.cnn import train
    from training.recipe import load_recipe
    from training.runs import Run, RunRecord

    recipe = load_recipe(network, config, epochs=epochs, batch_size=batch_size)
    runs = data_dir() / "runs"
    record = RunRecord(
        name=_checked(name or recipe.backend),
        recipe=recipe,
        sources=_local(data),
        excluded=_local(exclude),
        left_out=leave_out,
        seed=seed,
        usd_per_hour=prices.usd_per_hour(usable_cpus()) if usd_per_hour is None else usd_per_hour,
    )
    if resume:
        run = Run.newest(runs, record.name)
        if run.read().model_copy(update={"labels": []}) != record.model_copy(update={"usd_per_hour": run.read().usd_per_hour}):
            raise UsageError(f"{run.folder} was started with other data or settings; resume it with the same, or start anew")
    else:
        run = Run.create(runs, record)
    typer.echo(f"run: {run.folder}", err=True)
    folder = train(run, Repository(store or models_dir()), skip_unreadable=skip_unreadable)
    typer.echo(f"{folder}")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.", exists=True, file_okay=False)],
    store: Store = None,
) -> None:
    """Export a run's best Keras model to ONNX again, checked against Keras, as a new version in the store."""
    from training.export import export as export_run
    from training.runs import Run

    typer.echo(f"{export_run(Run(run), Repository(store or models_dir()))}")


def _local(sources: Sequence[str]) -> list[str]:
    """Fetch what is far away."""
    return [resolve(source, data_dir() / "downloads") for source in sources]


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
