"""`parallax train` and `parallax export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models import prices
from models.errors import UsageError
from models.machine import usable_cpus
from models.metadata import check_name
from models.repository import Repository
from models.sources import local
from models.workspace import data_dir, models_dir
from training.azureml.elsewhere import HereOrOnAzure

if TYPE_CHECKING:
    from training.recipe import Recipe
    from training.runs import Run
    from training.transfer_recipe import TransferRecipe

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
LeaveOut = Annotated[list[str], typer.Option(help="CLASS/FILE to leave out of training, as in sea/1.jpg.")]
Mirrored = Annotated[
    bool | None,
    typer.Option("--mirrored/--not-mirrored", help="Answer with the mean over an image and its mirror image: twice the work."),
]
Teacher = Annotated[
    str | None, typer.Option(help="NAME or NAME/VERSION of the store to learn from, besides the labels: distillation.")
]
DistillWeight = Annotated[
    float | None, typer.Option(min=0, max=1, help="The teacher's share in what is learnt [default: the recipe's, or 0.5].")
]
Seed = Annotated[int, typer.Option(help="For order, augmentation and initial weights.")]
SkipUnreadable = Annotated[bool, typer.Option(help="Go on without images that can't be decoded.")]
UsdPerHour = Annotated[
    float | None, typer.Option(min=0, help="Price of this machine [default: its cores by models/prices.toml].")
]
Resume = Annotated[bool, typer.Option(help="Go on with the newest unfinished run of this name.")]
Track = Annotated[
    bool | None, typer.Option("--track/--no-track", help="Tell MLflow of the run [default: PARALLAX_TRACK, or --track].")
]
Experiment = Annotated[
    str | None, typer.Option(help="MLflow's, which is made if need be [default: MLFLOW_EXPERIMENT_NAME or parallax].")
]
Store = Annotated[Path | None, typer.Option(help="Where models are kept [default: PARALLAX_MODELS_DIR or models/store].")]


@train_app.callback()
def train() -> None:
    """Train a classifier on class folders and put it into the store."""


@train_app.command(cls=HereOrOnAzure)
def cnn(
    data: Data,
    exclude: Exclude = [],  # noqa: B006  # typer's way of saying "none unless given"
    leave_out: LeaveOut = [],  # noqa: B006
    network: Annotated[Literal["cnn", "residual"], typer.Option(help="cnn: the article's; residual: a better one.")] = "cnn",
    name: Annotated[str | None, typer.Option(help="Name in the store [default: cnn or cnn_residual].")] = None,
    config: Annotated[Path | None, typer.Option(help="A recipe of your own, as training/configs/*.toml.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Instead of the recipe's.")] = None,
    mirrored: Mirrored = None,
    teacher: Teacher = None,
    distill_weight: DistillWeight = None,
    seed: Seed = 1,
    skip_unreadable: SkipUnreadable = False,
    usd_per_hour: UsdPerHour = None,
    resume: Resume = False,
    track: Track = None,
    experiment: Experiment = None,
    store: Store = None,
) -> None:
    """Train a convolutional network from scratch.

    Ctrl-C keeps the best epoch so far and exports it; a run that was killed goes on with --resume.
    """
    from training.cnn import train
    from training.recipe import load_recipe
    from training.tracking.tracker import tracker_for

    tracker = tracker_for(track, experiment)
    said = {"epochs": epochs, "batch_size": batch_size, "mirrored": mirrored}
    recipe = load_recipe(network, config, teacher=teacher, distill_weight=distill_weight, **said)
    run = _run(recipe, name, data, exclude, leave_out, seed, usd_per_hour, resume=resume)
    folder = train(run, Repository(store or models_dir()), skip_unreadable=skip_unreadable, tracker=tracker)
    typer.echo(f"{folder}")


@train_app.command(cls=HereOrOnAzure)
def transfer(
    data: Data,
    exclude: Exclude = [],  # noqa: B006
    leave_out: LeaveOut = [],  # noqa: B006
    backbone: Annotated[
        str | None,
        typer.Option(
            help="The pretrained network: efficientnet_lite0 or efficientnet_lite2, whose weights are here; any of "
            "keras.applications; keras_hub:PRESET; a name of Azure's AutoML; two joined with +. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="imagenet, a file of the network without its classifier, or random. [default: imagenet]")
    ] = None,
    weights_sha256: Annotated[str | None, typer.Option(help="What the digest of that file must be.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Pixels of a side. [default: the recipe's, or what the backbone was made for]")
    ] = None,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Let the top of the backbone learn on, after the head.")] = False,
    share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the backbone's layers, how many are fine-tuned; 1: all of them, from pixels."),
    ] = None,
    fine_tune_epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    head_epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    max_cache_gb: Annotated[
        float, typer.Option(min=0, help="Disk that activations may take while --fine-tune lasts, in GB.")
    ] = 20.0,
    name: Annotated[str | None, typer.Option(help="Name in the store [default: the recipe's].")] = None,
    config: Annotated[
        str | None, typer.Option(help="A recipe: transfer, inception_resnet_v2 (the article's), or a file. [default: transfer]")
    ] = None,
    mirrored: Mirrored = None,
    teacher: Teacher = None,
    distill_weight: DistillWeight = None,
    seed: Seed = 1,
    skip_unreadable: SkipUnreadable = False,
    usd_per_hour: UsdPerHour = None,
    resume: Resume = False,
    track: Track = None,
    experiment: Experiment = None,
    store: Store = None,
) -> None:
    """Train on top of a network that has already learnt from a million photographs.

    First the backbone is frozen and runs once for each view of an image; a head learns from what it gives, in seconds. With
    --fine-tune the top of the backbone then learns on. What is computed is kept in the run's folder: a run that was killed goes
    on with --resume. Ctrl-C during either phase keeps the best epoch so far and exports it.
    """
    from training.tracking.tracker import tracker_for
    from training.transfer import train
    from training.transfer_recipe import Overrides, load_transfer_recipe

    tracker = tracker_for(track, experiment)
    said = Overrides(
        backbone=backbone,
        weights=weights,
        weights_sha256=weights_sha256,
        image_size=image_size,
        mirrored=mirrored,
        head_epochs=head_epochs,
        fine_tune_epochs=fine_tune_epochs,
        share=share,
        teacher=teacher,
        distill_weight=distill_weight,
    )
    recipe = load_transfer_recipe(config, fine_tune=fine_tune, overrides=said)
    run = _run(recipe, name, data, exclude, leave_out, seed, usd_per_hour, resume=resume)
    models = Repository(store or models_dir())
    folder = train(run, models, skip_unreadable=skip_unreadable, max_cache_gb=max_cache_gb, tracker=tracker)
    typer.echo(f"{folder}")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.", exists=True, file_okay=False)],
    store: Store = None,
) -> None:
    """Export a run's best Keras model to ONNX again, checked against Keras, as a new version in the store."""
    from training.export import export as export_run
    from training.runs import Run

    typer.echo(f"{export_run(Run(run), Repository(store or models_dir()))}")


def _run(
    recipe: "Recipe | TransferRecipe",
    name: str | None,
    data: Sequence[str],
    exclude: Sequence[str],
    leave_out: Sequence[str],
    seed: int,
    usd_per_hour: float | None,
    *,
    resume: bool,
) -> "Run":
    """Begin a run, or find the one to go on with."""
    from training.runs import Run, RunRecord

    runs = data_dir() / "runs"
    record = RunRecord(
        name=_checked(name or recipe.backend),
        recipe=recipe,
        sources=local(data),
        excluded=local(exclude),
        left_out=list(leave_out),
        seed=seed,
        usd_per_hour=prices.usd_per_hour(usable_cpus()) if usd_per_hour is None else usd_per_hour,
    )
    if resume:
        run = Run.newest(runs, record.name)
        if run.read().told != record.told:
            raise UsageError(f"{run.folder} was started with other data or settings; resume it with the same, or start anew")
    else:
        run = Run.create(runs, record)
    typer.echo(f"run: {run.folder}", err=True)
    return run


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
