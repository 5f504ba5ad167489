"""What of `parallax customvision` brings things home: `export`, `import` and `pull-images`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from models.cli_options import SeveralValues
from models.workspace import models_dir
from training.cli import Store, _checked
from training.customvision.cli_compare import compare
from training.customvision.cli_options import (
    Endpoint,
    IterationName,
    KeyFile,
    Project,
    Workers,
    say,
    tell_problems,
    training_resource,
)


def export(
    project: Project,
    out: Annotated[Path, typer.Option(help="The zip to write.")],
    iteration: IterationName = None,
    flavor: Annotated[
        str | None, typer.Option(help="ONNX10, ONNX12, or OnnxFloat16 [default: the service's].", show_default=False)
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=1, help="When to stop waiting.")] = 900.0,
    endpoint: Endpoint = None,
    key_file: KeyFile = None,
) -> None:
    """Have an iteration of a compact domain exported to ONNX and fetch the zip, for `parallax customvision import`."""
    from training.customvision import projects
    from training.customvision.export import export as fetch

    service = training_resource(endpoint, key_file)
    found = projects.require(service, project)
    chosen = projects.iteration(service, found, iteration)
    fetch(service, found, chosen, out, flavor=flavor, timeout_s=timeout_s, tell=say)
    typer.echo(f"{out}")


def import_export(
    file: Annotated[
        Path, typer.Argument(metavar="ZIP", help="What `export` fetched, or the portal.", exists=True, dir_okay=False)
    ],
    name: Annotated[str, typer.Option(help="Name in the store.")],
    preprocess: Annotated[
        list[str], typer.Option(help="KEY=VALUE to believe instead of the file, as of `parallax models import`.")
    ] = [],  # noqa: B006
    store: Store = None,
) -> None:
    """Put an exported ONNX model into the store: labels, order of colours and range of pixels are read from the zip.

    The answers are close to the service's and not the same: it crops and scales by rules of its own, and Microsoft promises no
    equality. `parallax models evaluate NAME --test ...` tells what remains.
    """
    from models.repository import Repository
    from training.customvision.exported import import_zip

    typer.echo(f"{import_zip(file, _checked(name), preprocess, Repository(store or models_dir()))}")


def pull_images(
    project: Project,
    out: Annotated[Path, typer.Option(help="Folder for the class folders, new or of an earlier pull.")],
    several_tags: Annotated[
        Literal["leave-out", "each"], typer.Option(help="Images with several tags: left out, or in the folder of each.")
    ] = "leave-out",
    workers: Workers = 8,
    endpoint: Endpoint = None,
    key_file: KeyFile = None,
) -> None:
    """Bring the tagged images of a project home as class folders, for `parallax train ... --data`.

    What is there already is not fetched again. The exit status is 1 if an image could not be had.
    """
    from training.customvision import projects
    from training.customvision.pull import RECORD, pull
    from training.progress import bar

    service = training_resource(endpoint, key_file)
    found = projects.require(service, project)
    with bar("images") as progress:
        task = progress.add_task("pull", total=sum(tag.images for tag in projects.tags(service, found)))
        done = pull(service, found, out, several=several_tags, workers=workers, step=lambda count: progress.advance(task, count))
    say(
        f"{done.images:,} images of {found.name}, {done.fetched:,} of them fetched now; {len(done.several):,} with several tags "
        f"left out (listed in {RECORD}); {len(done.problems):,} failed"
    )
    typer.echo(f"{out}")
    tell_problems(done.problems, out / "pull-problems.txt")


def mount(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command()(export)
    app.command("import", cls=SeveralValues)(import_export)
    app.command("pull-images")(pull_images)
    app.command()(compare)
