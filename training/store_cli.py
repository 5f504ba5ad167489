"""What of `parallax models` needs the training environment: `optimize`, `import`, `push` and `pull`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from models.cli_options import SeveralValues
from models.errors import UsageError
from models.metadata import ModelCard, Precision
from models.repository import Repository
from models.sources import local
from models.workspace import data_dir, models_dir
from training.cli import Data, Exclude, Experiment, Store, _checked

if TYPE_CHECKING:
    from training.data import TrainingSet

PRECISIONS = get_args(Precision)[1:]


def optimize(
    name: Annotated[str, typer.Argument(help="NAME for the newest version, or NAME/VERSION.")],
    data: Data,
    exclude: Exclude = [],  # noqa: B006  # typer's way of saying "none unless given"
    leave_out: Annotated[list[str], typer.Option(help="CLASS/FILE that was left out of training, as in sea/1.jpg.")] = [],  # noqa: B006
    precision: Annotated[str, typer.Option(help="int8, fp16, or both with a comma between them.")] = "int8,fp16",
    calibration: Annotated[int, typer.Option(min=8, help="Images of the training cut that int8 takes its ranges from.")] = 300,
    seed: Annotated[int, typer.Option(help="Which images those are.")] = 1,
    skip_unreadable: Annotated[bool, typer.Option(help="Go on without images that can't be decoded.")] = False,
    store: Store = None,
) -> None:
    """Add int8 and fp16 variants to a version, if they classify as well as its fp32.

    Give the --data, --exclude and --leave-out that the model was trained with: the same images are then kept for validation.
    A variant is taken if it loses at most 0.5 points there, and written to model.json with the change, its size and the speed
    of all variants, measured in turns on this machine; else it is refused with the figures, and the exit status is 1.

    `parallax serve` takes the fastest variant unless PARALLAX_PRECISION names one.
    """
    from training.optimize import optimize as make

    repository = Repository(store or models_dir())
    model, _, version = name.partition("/")
    stored = repository.get(model, version or None)
    precisions = _precisions(precision)
    data_dir().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="optimize-", dir=data_dir()) as folder:
        cut = _cut(stored.card, Path(folder), local(data), local(exclude), leave_out, skip_unreadable=skip_unreadable)
        verdicts = make(repository, stored, cut, precisions, calibration=calibration, seed=seed)
    if {verdict.precision for verdict in verdicts if verdict.accepted} != set(precisions):
        raise typer.Exit(1)


def import_model(
    file: Annotated[Path, typer.Argument(help="An ONNX file, its weights in it or beside it.", exists=True, dir_okay=False)],
    labels: Annotated[list[str], typer.Option(help="The labels in the order of the scores, or a text file with one a line.")],
    preprocess: Annotated[
        list[str],
        typer.Option(
            help="What the network expects: a preset (torchvision, azure_automl, caffe, tf, metadata), then KEY=VALUE: "
            "layout=nchw|nhwc colours=rgb|bgr range=0..1|0..255|-1..1 scale=S mean=M,M,M std=S,S,S size=S or HxW "
            "resize=FILTER input=NAME output=NAME scores=softmax|logits."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name in the store [default: the file's].")] = None,
    store: Store = None,
) -> None:
    """Put a classifier that was trained elsewhere into the store, with its preprocessing inside the graph.

    The network takes one batch of images, as float32, float16 or uint8, and gives a score for each label. `mean` and `std`
    count in the network's own order of colours, after `range` or `scale`. The preset `metadata` believes what the file itself
    says, as Custom Vision's exports do. Images are stretched to the network's size.

    What is wrong with the declaration only labelled images can tell: `parallax models evaluate NAME --test ...`.
    """
    from training.importing import import_onnx

    folder = import_onnx(
        file, _checked(name or file.stem.lower()), _labels(labels), preprocess, Repository(store or models_dir())
    )
    typer.echo(f"{folder}")


def push(
    name: Annotated[str, typer.Argument(help="NAME for the newest version, or NAME/VERSION.")],
    experiment: Experiment = None,
    store: Store = None,
) -> None:
    """Track a version in MLflow and register it, as `parallax train` does at its end.

    For a version whose tracking server was gone when it was trained, or that has changed since: new variants, a test result. What
    the server knows already is not sent again. MLFLOW_TRACKING_URI names the server.
    """
    from training.tracking.push import push as send
    from training.tracking.server import look, tracking_uri

    model, _, version = name.partition("/")
    stored = Repository(store or models_dir()).get(model, version or None)
    typer.echo(f"models:/{model}/{send(stored, data_dir() / 'runs', experiment=experiment)}")
    typer.echo(f"to see it: {look(tracking_uri())}", err=True)


def pull(
    address: Annotated[
        str, typer.Argument(help="models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest, or runs:/RUN/PATH.")
    ],
    name: Annotated[str | None, typer.Option(help="Name in the store [default: the model's own].")] = None,
    store: Store = None,
) -> None:
    """Fetch a model that Parallax registered in MLflow, with all its variants, as the next version in the store.

    It is taken only if every file has the digest that its card states, the golden vectors are reproduced here, and its labels are
    those of the name in the store. MLFLOW_TRACKING_URI names the server [default: the local one].
    """
    from training.tracking.pull import pull as fetch

    typer.echo(f"{fetch(address, Repository(store or models_dir()), name=_checked(name) if name else None).folder}")


def mount(app: typer.Typer) -> None:
    """Add the commands to the group `models`."""
    app.command(cls=SeveralValues)(optimize)
    app.command("import", cls=SeveralValues)(import_model)
    app.command()(push)
    app.command()(pull)


def _precisions(text: str) -> list[Precision]:
    chosen: list[Precision] = []
    for word in text.split(","):
        found = next((precision for precision in PRECISIONS if precision == word.strip()), None)
        if found is None or found in chosen:
            raise UsageError(f"--precision {text}: name {' or '.join(PRECISIONS)}, each at most once, with commas between them")
        chosen.append(found)
    return chosen


def _labels(words: list[str]) -> list[str]:
    if len(words) == 1 and Path(words[0]).is_file():
        words = Path(words[0]).read_text(encoding="utf-8-sig").splitlines()
    labels = [word.strip() for word in words if word.strip()]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageError("--labels takes two or more different labels, or a text file with one a line")
    return labels


def _cut(
    card: ModelCard, folder: Path, data: list[str], exclude: list[str], leave_out: list[str], *, skip_unreadable: bool
) -> "TrainingSet":
    """The data as training cuts it, decoded into a folder. Says so if it is not the cut that the model learnt from."""
    from training.data import prepare
    from training.progress import advance_bar, bar, console

    with bar("images") as progress:
        found = prepare(
            data,
            exclude,
            card.input,
            folder / "pixels.npy",
            left_out=leave_out,
            skip_unreadable=skip_unreadable,
            progress=lambda text, total: advance_bar(progress, text, total),
        )
    facts = card.training
    same = facts is not None and (
        {file.sha256 for file in facts.data} == {file.sha256 for file in found.data}
        and (facts.counts.train, facts.counts.validation) == (found.counts.train, found.counts.validation)
    )
    if not same:
        console.print(
            "[yellow]This is not the cut that the model learnt from[/]: it may have seen some of the validation images, which "
            "flatters all its variants alike",
            highlight=False,
        )
    return found
