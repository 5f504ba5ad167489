"""`parallax score`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from models.errors import UsageError

WHAT, HOW, WHERE, WRITTEN = "What is scored", "How", "Where", "What is written"


def score(
    dataset: Annotated[
        str,
        typer.Argument(
            help="A zip or a folder of class folders, or a JSONL file of `image_url` and `label`; DATASET#SPLIT for one of "
            "several in it. With --on-server, the name of a set there.",
            metavar="DATASET",
            show_default=False,
        ),
    ],
    backends: Annotated[
        str | None,
        typer.Option(help="Names, separated by commas [default: all whose calls cost nothing].", rich_help_panel=WHAT),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many images at most, drawn by --seed.", rich_help_panel=WHAT)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the images.", rich_help_panel=WHAT)] = 0,
    label_map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER=LABEL",
            help="What the backends call a class of the set, where names differ. Repeat it for several.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Folder names are no labels: no accuracy.", rich_help_panel=WHAT)
    ] = False,
    mode: Annotated[
        Literal["throughput", "latency"],
        typer.Option(help="`latency` sends one image at a time, `throughput` as many as can be used.", rich_help_panel=HOW),
    ] = "throughput",
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Images under way at a backend [default: what it can use].", rich_help_panel=HOW),
    ] = None,
    warmup: Annotated[
        int,
        typer.Option(
            min=0, max=1000, help="Images that come first and don't count; a remote backend gets none.", rich_help_panel=HOW
        ),
    ] = 8,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            help="`local`: in this process; `ray`: in processes on all machines of a Ray cluster (the extra `ray`).",
            rich_help_panel=WHERE,
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The cluster of --engine ray, started from one of its nodes; `auto` finds it [default: this machine alone].",
            rich_help_panel=WHERE,
        ),
    ] = None,
    models_dir: Annotated[
        Path | None,
        typer.Option(help="The store [default: PARALLAX_MODELS_DIR or models/store].", rich_help_panel=WHERE, show_default=False),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, whatever is left of a run that was stopped.", rich_help_panel=WHERE)
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Have this server do it; its key is read from PARALLAX_API_KEY.", rich_help_panel=WHERE),
    ] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="DATASET is the server's: nothing is sent.", rich_help_panel=WHERE)
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the job's address, and leave the server to it.", rich_help_panel=WHERE)
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="One page for people.", rich_help_panel=WRITTEN)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What each backend said of each image: .jsonl, .csv or .parquet.", rich_help_panel=WRITTEN
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE.json", help="The whole result.", rich_help_panel=WRITTEN)
    ] = None,
) -> None:
    """Show every image of a labelled set to several backends, and print how good, how fast and how dear each is.

    By default it runs here, on the models of the store and on the remote backends of the settings (`PARALLAX_*`, or .env, as for
    `parallax serve`), and opens no port. A run that was stopped, even by kill -9, goes on when the same command is typed again.

    With --engine ray the cluster's processes score the images, and this one keeps what they say. Models go there from here; a
    set that is no address must lie under the same path on every node.

    With --server a server runs it. A folder is zipped on the way. The job outlives a lost connection; Ctrl-C cancels it.

    Exit status: 0 if all is done, 1 if the run failed, ended early, or a backend gave no answer at all, 2 if what was asked for
    can't be done.
    """
    from pydantic import ValidationError

    from service.score.asked import Asked
    from service.score.client import ServerFailed
    from service.score.run import Files, run
    from service.score.run import detach as hand_in
    from service.scoring.options import Options

    if server is None and (on_server or detach):
        raise UsageError("--on-server and --detach say something of a server: name it with --server URL")
    if server is not None and (models_dir or fresh or engine != "local"):
        raise UsageError("--models-dir, --fresh and --engine say something of a run from here: leave them out, or --server")
    if address is not None and engine != "ray":
        raise UsageError("--address is that of a Ray cluster: say --engine ray")
    if detach and (report or predictions or json_file):
        raise UsageError("--detach waits for nothing that could be written: leave out --report, --predictions and --json")
    try:
        options = Options.model_validate(
            {
                "backends": backends,
                "limit": limit,
                "seed": seed,
                "mode": mode,
                "concurrency": concurrency,
                "warmup": warmup,
                "label_map": _pairs(label_map or []),
                "labelled": False if unlabelled else None,
            }
        )
    except ValidationError as exc:
        raise UsageError("; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())) from None
    asked = Asked(dataset, options, models_dir, fresh, address, server, on_server)
    try:
        if detach:
            hand_in(asked)
            return
        status = run(asked, Files(report, predictions, json_file), engine)
    except ServerFailed as exc:
        typer.secho(f"parallax: {exc}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from exc
    raise typer.Exit(status)


def _pairs(words: list[str]) -> dict[str, str]:
    """`FOLDER=LABEL` as a map. Raises `UsageError`."""
    found: dict[str, str] = {}
    for word in words:
        folder, equals, label = word.partition("=")
        if not equals or not folder or not label or folder in found:
            raise UsageError(f"--label-map {word} is no FOLDER=LABEL, or names a folder again")
        found[folder] = label
    return found
