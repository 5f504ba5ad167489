"""`parallax models`: look into the store, check it, judge it, tidy it."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from models.cli_options import SeveralValues
from models.errors import ModelError, UsageError
from models.repository import Repository, StoredModel
from models.workspace import data_dir, models_dir

models_app = typer.Typer(
    no_args_is_help=True, help="List, show, verify, evaluate, fetch, slim and delete the models of the store."
)
console = Console()

Name = Annotated[str, typer.Argument(help="NAME for the newest version, or NAME/VERSION.")]
Store = Annotated[Path | None, typer.Option(help="Where models are kept [default: PARALLAX_MODELS_DIR or models/store].")]


@models_app.command("list")
def list_models(store: Store = None) -> None:
    """All versions, those that are broken too."""
    repository = _repository(store)
    listing = repository.scan()
    if not listing.models and not listing.broken:
        console.print(f"{repository.root} holds no model. `parallax train cnn --data FOLDER` makes one.")
        return
    model, day = (Column(name, no_wrap=True) for name in ("model", "trained"))  # a name that is cut off can't be asked for
    table = Table(
        model,
        "classes",
        "input",
        "precision",
        "validation",
        "test",
        day,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for stored in listing.models:
        card = stored.card
        facts = card.training
        table.add_row(
            f"{card.name}/{card.version}",
            str(len(card.labels)),
            f"{card.input.width}x{card.input.height}",
            ", ".join(variant.precision for variant in card.variants),
            ", ".join(f"{found.value:.1%}" if (found := card.validation(variant)) else "?" for variant in card.variants),
            ", ".join(f"{variant.test_accuracy:.1%}" for variant in card.variants if variant.test_accuracy is not None)
            or "not yet",
            f"{facts.finished:%Y-%m-%d}" if facts else "elsewhere",
        )
    console.print(table)
    for broken in listing.broken:
        console.print(f"[red]broken[/] {broken.name}/{broken.version}: {broken.reason}", highlight=False)


@models_app.command()
def show(name: Name, store: Store = None) -> None:
    """The card of a version, as JSON."""
    typer.echo(_get(_repository(store), name).card.model_dump_json(indent=2))


@models_app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="NAME, or NAME/VERSION; left out: all.")] = None, store: Store = None
) -> None:
    """Compare every file with its digest and run the golden vectors. Exit status 1 if a version is unfit."""
    from models.soundness import check

    repository = _repository(store)
    listing = repository.scan()
    chosen = listing.models if name is None else [_get(repository, name)]
    unfit = 0
    if name is None:
        for broken in listing.broken:
            unfit += 1
            console.print(f"[red]unfit[/] {broken.name}/{broken.version}: {broken.reason}", highlight=False)
    for stored in chosen:
        where = f"{stored.card.name}/{stored.card.version}"
        try:
            difference = check(stored)
        except ModelError as exc:
            unfit += 1
            console.print(f"[red]unfit[/] {where}: {exc}", highlight=False)
        else:
            console.print(f"[green]sound[/] {where}: golden scores differ by at most {difference:.1e}", highlight=False)
    if unfit:
        raise typer.Exit(1)


@models_app.command(cls=SeveralValues)
def evaluate(
    name: Name,
    test: Annotated[
        list[str], typer.Option(help="Labelled test images: zips, folders, addresses; SOURCE#SPLIT for one of several.")
    ],
    store: Store = None,
) -> None:
    """Meet a test set, once per version, and write the result into model.json.

    Once, because whoever looks twice begins to choose by it. Every precision of the version is judged, file by file; one that was
    added later may meet it then.
    """
    from models.evaluation import evaluate as judge

    repository = _repository(store)
    judge(repository, _get(repository, name), test, data_dir() / "downloads", console)


@models_app.command(cls=SeveralValues)
def fetch(
    address: Annotated[
        str | None,
        typer.Argument(
            help="https://ACCOUNT.blob.core.windows.net/CONTAINER[/PREFIX], with its signature (?sv=...), if it needs one.",
            envvar="PARALLAX_FETCH_FROM",
            show_envvar=True,
        ),
    ] = None,
    only: Annotated[list[str], typer.Option(help="Names of models. [default: all]")] = [],  # noqa: B006  # as typer has it
    versions: Annotated[int, typer.Option(min=1, help="Of each model, so many, newest first.")] = 1,
    store: Store = None,
) -> None:
    """Bring models from Azure Blob Storage into the store, whole and verified, or not at all.

    The container holds what a store holds: NAME/VERSION/ with model.json and its files. A version is compared with the digests
    of its card before it gets its place; one that is there already stays. In AKS the pod's workload identity reads.
    """
    from models.blobs import fetch as bring

    if address is None:
        raise UsageError("say where from: https://ACCOUNT.blob.core.windows.net/CONTAINER, or PARALLAX_FETCH_FROM")
    for stored, new in bring(address, _repository(store), names=only, versions=versions):
        where = f"{stored.card.name}/{stored.card.version}"
        console.print(f"[green]{'fetched' if new else 'there already'}[/] {where}", highlight=False)


@models_app.command(cls=SeveralValues)
def slim(
    name: Name,
    without: Annotated[list[str], typer.Option(help="keras, or a precision: fp32, int8, fp16.")],
    store: Store = None,
) -> None:
    """Remove files from a version that serving does without, as before it is shipped.

    Without `keras` it can't be exported or fine-tuned again, without `fp32` not be optimized again. A variant that was
    removed is not made anew under the same version.
    """
    from models.slim import slim as lighten

    repository = _repository(store)
    stored = lighten(repository, _get(repository, name), without)
    size = sum(path.stat().st_size for path in stored.folder.iterdir())
    console.print(f"{stored.card.name}/{stored.card.version}: {size / 1e6:.1f} MB left", highlight=False)


@models_app.command()
def delete(
    name: Annotated[str, typer.Argument(help="NAME/VERSION.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    store: Store = None,
) -> None:
    """Remove one version, sound or broken."""
    model, _, version = name.partition("/")
    if not version:
        raise UsageError(f"name the version to delete, as in {model}/1")
    repository = _repository(store)
    if not yes:
        typer.confirm(f"Delete {model}/{version} from {repository.root}?", abort=True)
    repository.delete(model, version)
    console.print(f"deleted {model}/{version}", highlight=False)


def _repository(store: Path | None) -> Repository:
    return Repository(store or models_dir())


def _get(repository: Repository, name: str) -> StoredModel:
    model, _, version = name.partition("/")
    return repository.get(model, version or None)
